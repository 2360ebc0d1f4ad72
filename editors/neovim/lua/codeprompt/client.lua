-- The client: started the way that this version of Neovim has.
local M = {}

local FILETYPES = {
  'c', 'cpp', 'cs', 'go', 'java', 'javascript', 'javascriptreact', 'php', 'python', 'ruby',
  'typescript', 'typescriptreact',
}
-- The first that lies in a folder above the file makes that folder its project.
local MARKERS = {
  '.git', 'pyproject.toml', 'package.json', 'go.mod', 'pom.xml', 'build.gradle', 'composer.json',
  'Gemfile', 'CMakeLists.txt',
}
local started = {} -- clients of Neovim 0.7 by project

M.options = { cmd = { 'codeprompt-lsp' }, settings = {} }

local function has(version)
  return vim.fn.has('nvim-' .. version) == 1
end

--- The folder of a buffer's project; nil for a file that belongs to none.
function M.root(buffer)
  local path = vim.api.nvim_buf_get_name(buffer)
  if path == '' then
    return nil
  end
  for _, marker in ipairs(MARKERS) do
    local folder = vim.fn.fnamemodify(path, ':p:h')
    while true do
      if vim.loop.fs_stat(folder .. '/' .. marker) then
        return folder
      end
      local above = vim.fn.fnamemodify(folder, ':h')
      if above == folder then
        break
      end
      folder = above
    end
  end
end

--- What Neovim needs to know of the server.
function M.config()
  local settings = M.options.settings
  if vim.tbl_isempty(settings) then
    settings = vim.empty_dict() -- else it would be sent as a list
  end
  local config = {
    name = 'codeprompt',
    cmd = M.options.cmd,
    filetypes = FILETYPES,
    settings = { codeprompt = settings },
    on_attach = M.options.on_attach,
    capabilities = M.options.capabilities,
    init_options = settings, -- for versions that cannot be asked for settings
    handlers = require('codeprompt.status').handlers,
  }
  if has('0.11') then
    config.root_dir = function(buffer, found)
      found(M.root(buffer))
    end
  end
  return config
end

local function attach(buffer)
  local config = M.config()
  config.root_dir = M.root(buffer)
  if vim.lsp.start then -- 0.8 and later
    -- 0.8 knows the current buffer only.
    vim.api.nvim_buf_call(buffer, function()
      vim.lsp.start(config, { bufnr = buffer })
    end)
    return
  end
  local key = config.root_dir or ''
  local client = started[key] and vim.lsp.get_client_by_id(started[key])
  if client == nil or client.is_stopped() then
    started[key] = vim.lsp.start_client(config)
  end
  if started[key] then
    vim.lsp.buf_attach_client(buffer, started[key])
  end
end

--- Attach to buffers of supported languages, those that are open and those to come.
function M.enable()
  local command = M.options.cmd[1]
  if vim.fn.executable(command) ~= 1 then
    vim.notify(
      ("codeprompt: '%s' cannot be run. Install it (pip install codeprompt) where PATH leads, or "):format(command)
        .. "name it: require('codeprompt').setup({ cmd = { '/path/to/bin/codeprompt-lsp' } })",
      vim.log.levels.WARN
    )
    return
  end
  if has('0.11') then
    vim.lsp.config('codeprompt', M.config())
    vim.lsp.enable('codeprompt')
    return
  end
  vim.api.nvim_create_autocmd('FileType', {
    group = vim.api.nvim_create_augroup('codeprompt', { clear = true }),
    pattern = FILETYPES,
    callback = function(event)
      attach(event.buf)
    end,
  })
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    local kind = vim.api.nvim_buf_get_option(buffer, 'filetype')
    if vim.api.nvim_buf_is_loaded(buffer) and vim.tbl_contains(FILETYPES, kind) then
      attach(buffer)
    end
  end
end

--- The client of a buffer, nil for none.
function M.of(buffer)
  if buffer == 0 then
    buffer = vim.api.nvim_get_current_buf()
  end
  local listed = (vim.lsp.get_clients or vim.lsp.get_active_clients)()
  for _, client in pairs(listed) do
    if client.name == 'codeprompt' and vim.lsp.buf_is_attached(buffer, client.id) then
      return client
    end
  end
end

--- Send a request. done: gets the error or nil, and the result.
function M.request(client, method, params, done)
  local function handler(failure, result)
    done(failure, result)
  end
  if has('0.11') then
    return client:request(method, params, handler)
  end
  return client.request(method, params, handler)
end

--- Where the cursor is, as the server of that client counts.
function M.place(client)
  local found = vim.lsp.util.make_position_params(0, client.offset_encoding)
  return { uri = found.textDocument.uri, position = found.position }
end

return M
