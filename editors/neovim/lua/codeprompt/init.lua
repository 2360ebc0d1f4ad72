-- codeprompt in Neovim 0.7 to 0.12: the language server, its commands, a line for the status line.
local M = {}

--- Start the language server for every buffer of a supported language, and make the commands.
--- options.cmd: how to start the server, a list; `{ 'codeprompt-lsp' }` without it.
--- options.settings: the server's settings, e.g. `{ diagnostics = { mode = 'on' } }`.
--- options.on_attach, options.capabilities: as Neovim's own clients take them.
function M.setup(options)
  local client = require('codeprompt.client')
  client.options = vim.tbl_deep_extend('force', client.options, options or {})
  require('codeprompt.commands').make()
  client.enable()
end

--- What the server told last about the current buffer's project; nil where no server is attached.
function M.status()
  return require('codeprompt.status').of(0)
end

--- For a status line: `%{v:lua.require'codeprompt'.statusline()}`. Empty where no server is attached.
function M.statusline()
  return require('codeprompt.status').line(0)
end

return M
