-- The commands: each asks the server for one of its own.
local M = {}

local LANGUAGES = { 'c', 'c-sharp', 'cpp', 'go', 'java', 'javascript', 'php', 'python', 'ruby', 'typescript' }
local TASKS = { 'summarize', 'defect', 'translate', 'localize' }

local function say(text, level)
  vim.notify('codeprompt: ' .. text, level or vim.log.levels.INFO)
end

-- Neovim before 0.8 cannot be told to show a document.
local function show(result)
  if result.uri and vim.lsp.handlers['window/showDocument'] == nil then
    vim.cmd('split ' .. vim.fn.fnameescape(vim.uri_to_fname(result.uri)))
  end
  vim.cmd('checktime') -- a report grew while it was open
end

local PATIENCE = 3600 -- seconds, for commands that were asked to wait

local function attached()
  return require('codeprompt.client').of(0) ~= nil
end

--- Run one of the server's commands for the current buffer; done gets its result.
--- wait: come back when it is done, for scripts (`nvim --headless -c 'CodepromptDocumentFile!'`).
local function run(name, given, done, wait)
  if wait then
    vim.wait(1000 * PATIENCE, attached, 50)
  end
  local ended = false
  local client = require('codeprompt.client').of(0)
  if client == nil then
    say(("no server is attached to this buffer (filetype '%s')"):format(vim.bo.filetype), vim.log.levels.WARN)
    return
  end
  local asked = { command = 'codeprompt.' .. name, arguments = { given(client) } }
  require('codeprompt.client').request(client, 'workspace/executeCommand', asked, function(failure, result)
    ended = true
    if failure then
      say(failure.message or tostring(failure), vim.log.levels.WARN)
    elseif done and type(result) == 'table' then
      done(result)
    end
  end)
  if wait then
    vim.wait(1000 * PATIENCE, function()
      return ended
    end, 50)
  end
end

local function here(client)
  return require('codeprompt.client').place(client)
end

local function this_file()
  return { uri = vim.uri_from_bufnr(0) }
end

local function nothing()
  return vim.empty_dict()
end

local function described(status)
  local lines = { status.message }
  for task, pack in pairs(status.packs or {}) do
    table.insert(lines, task .. ': ' .. pack)
  end
  for uri, reason in pairs(status.skipped or {}) do
    table.insert(lines, vim.fn.fnamemodify(vim.uri_to_fname(uri), ':t') .. ': left alone, ' .. reason)
  end
  for _, job in ipairs(status.jobs or {}) do
    table.insert(lines, ('job %s: %s'):format(job.id, job.status))
  end
  return table.concat(vim.list_extend(lines, status.notes or {}), '\n')
end

local function among(words)
  return function(lead)
    return vim.tbl_filter(function(word)
      return vim.startswith(word, lead)
    end, words)
  end
end

local commands = {
  Document = {
    'Write or replace the documentation of the function at the cursor',
    function()
      run('document', here)
    end,
  },
  DocumentFile = {
    'Write the missing documentation of this file; with ! wait until it is there',
    function(given)
      run('documentFile', this_file, function(result)
        say(('%d written, not sure about %d'):format(result.written, result.unsure))
      end, given.bang)
    end,
    { bang = true },
  },
  Translate = {
    'Translate the function at the cursor: :CodepromptTranslate java',
    function(given)
      run('translate', function(client)
        local asked = here(client)
        asked.target = given.args ~= '' and given.args or nil
        return asked
      end, show)
    end,
    { nargs = '?', complete = among(LANGUAGES) },
  },
  Explain = {
    'Show which lines a warning about the function at the cursor rests on',
    function()
      run('explain', here, show)
    end,
  },
  Summarize = {
    "Summarize this project's functions into a report",
    function()
      run('summarizeWorkspace', function(client)
        return { folder = vim.uri_from_fname(client.config.root_dir or vim.fn.getcwd()) }
      end, show)
    end,
  },
  Tune = {
    'Tune a pack on the documentation of this project: :CodepromptTune 64',
    function(given)
      run('tune', function()
        local asked = this_file()
        asked.shots = tonumber(given.args)
        return asked
      end, function(result)
        say(('tuning (job %s)'):format(result.job))
      end)
    end,
    { nargs = '?' },
  },
  Pack = {
    'Choose the pack for a task: :CodepromptPack summarize my-pack',
    function(given)
      run('choosePack', function()
        return { task = given.fargs[1] or 'summarize', pack = given.fargs[2] }
      end, function(result)
        if result.pack then
          say(('%s: %s'):format(result.task, result.pack))
        end
      end)
    end,
    { nargs = '*', complete = among(TASKS) },
  },
  Status = {
    'Show what the server does: engine, packs, jobs, files left alone',
    function()
      run('showStatus', nothing, function(result)
        say(described(result))
      end)
    end,
  },
  Cancel = {
    'Cancel what runs: tuning jobs and commands',
    function()
      run('cancel', nothing)
    end,
  },
}

--- Make the commands; each name begins with `Codeprompt`.
function M.make()
  for name, parts in pairs(commands) do
    local options = vim.tbl_extend('error', { desc = parts[1] }, parts[3] or {})
    vim.api.nvim_create_user_command('Codeprompt' .. name, parts[2], options)
  end
end

return M
