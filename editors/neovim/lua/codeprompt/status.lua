-- What the server tells unasked: `codeprompt/status` and `codeprompt/job`, kept by client.
local M = {}

local told = {}

local function changed(name)
  -- 0.7 knows no data of an event; `require('codeprompt').status()` has it.
  vim.api.nvim_exec_autocmds('User', { pattern = name, modeline = false })
  vim.cmd('redrawstatus!')
end

M.handlers = {
  ['codeprompt/status'] = function(_, result, context)
    told[context.client_id] = result
    changed('CodepromptStatus')
  end,
  ['codeprompt/job'] = function(_, result)
    local level = result.status == 'failed' and vim.log.levels.ERROR or vim.log.levels.INFO
    vim.notify('codeprompt: ' .. result.message, level)
    changed('CodepromptJob')
  end,
}

--- What was told last to the client of a buffer; nil without a client. Empty at first.
function M.of(buffer)
  local client = require('codeprompt.client').of(buffer)
  return client and (told[client.id] or {})
end

--- A few words for the status line.
function M.line(buffer)
  local status = M.of(buffer)
  if status == nil then
    return ''
  end
  local alone = (status.skipped or {})[vim.uri_from_bufnr(buffer)]
  if alone then
    return 'codeprompt: left alone, ' .. alone
  end
  if status.state ~= 'ready' then
    return 'codeprompt: ' .. (status.state or 'starting')
  end
  if vim.tbl_contains(status.missing, 'summarize') then -- a pack that warns, few have
    return 'codeprompt: no pack that summarizes'
  end
  return status.resting ~= '' and 'codeprompt: resting, ' .. status.resting or 'codeprompt'
end

return M
