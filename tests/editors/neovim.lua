-- A person's minutes in a real Neovim, without the person: run after the file was opened, with the
-- README's configuration. What was seen goes as JSON into the file that $CODEPROMPT_SEEN names.
local seen = { version = tostring(vim.version().major) .. '.' .. vim.version().minor }
local SECONDS = tonumber(vim.env.CODEPROMPT_SECONDS or '120')
local codeprompt = require('codeprompt')
local buffer = vim.api.nvim_get_current_buf()

-- Neovim answers events while it waits; a condition is looked at again after each.
local function wait(what, condition)
  if not vim.wait(SECONDS * 1000, condition, 20) then
    error('waited in vain for ' .. what)
  end
end

local function lines()
  return vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
end

local function go_to(pattern)
  vim.fn.cursor(1, 1)
  assert(vim.fn.search(pattern, 'cW') > 0, pattern)
end

-- What the floating window says that `vim.lsp.buf.hover` opens.
local function hover()
  local text
  vim.lsp.buf.hover()
  wait('a hover', function()
    for _, window in ipairs(vim.api.nvim_list_wins()) do
      if vim.api.nvim_win_get_config(window).relative ~= '' then
        local inside = vim.api.nvim_win_get_buf(window)
        text = table.concat(vim.api.nvim_buf_get_lines(inside, 0, -1, false), '\n')
        vim.api.nvim_win_close(window, true)
        return true
      end
    end
  end)
  return text
end

-- The menu of code actions: its entries are seen, and the one that begins so is taken.
local function act(beginning)
  local titles
  vim.ui.select = function(items, options, choose)
    titles = vim.tbl_map(options.format_item, items)
    for _, item in ipairs(items) do
      if vim.startswith(options.format_item(item), beginning) then
        return choose(item)
      end
    end
    choose(nil)
  end
  vim.lsp.buf.code_action()
  wait('code actions', function()
    return titles
  end)
  return titles
end

local function changed_since(before)
  return function()
    return not vim.deep_equal(lines(), before)
  end
end

local said = {}
vim.notify = function(text)
  table.insert(said, text)
end

local function last_said(beginning)
  wait('a message: ' .. beginning, function()
    return #said > 0 and vim.startswith(said[#said], beginning)
  end)
  return said[#said]
end

local function everything()
  wait('the engine', function()
    return (codeprompt.status() or {}).state == 'ready'
  end)
  local before = lines()

  go_to('^def rgb_to_yiq')
  seen.hover = hover()
  seen.statusline = codeprompt.statusline()
  seen.actions = act('Write the documentation')
  wait('the docstring', changed_since(before))
  seen.documented = lines()
  vim.cmd('silent undo')
  seen.undone = vim.deep_equal(lines(), before)

  go_to('^def rgb_to_yiq')
  vim.cmd('CodepromptDocument')
  wait('the docstring by a command', changed_since(before))
  seen.same = vim.deep_equal(lines(), seen.documented)
  vim.cmd('silent undo')

  vim.cmd('CodepromptDocumentFile')
  wait('the file', changed_since(before))
  seen.whole = lines()
  seen.told = last_said('codeprompt: ')
  vim.cmd('silent undo')
  seen.whole_undone = vim.deep_equal(lines(), before)

  go_to('^def rgb_to_yiq')
  vim.cmd('CodepromptTranslate java')
  wait('the translation', function()
    return vim.api.nvim_get_current_buf() ~= buffer
  end)
  seen.translation = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  vim.api.nvim_set_current_buf(buffer)

  wait('warnings', function()
    return #vim.diagnostic.get(buffer) > 0
  end)
  seen.warning = vim.diagnostic.get(buffer)[1].message
  go_to('^def rgb_to_yiq')
  vim.cmd('CodepromptExplain')
  wait('the explanation', function()
    return vim.api.nvim_get_current_buf() ~= buffer
  end)
  seen.explanation = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  vim.api.nvim_set_current_buf(buffer)

  vim.cmd('CodepromptSummarize')
  wait('the report', function()
    return vim.api.nvim_get_current_buf() ~= buffer
      and table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false)):find('Complete')
  end)
  seen.report = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  vim.api.nvim_set_current_buf(buffer)

  vim.cmd('CodepromptStatus')
  seen.status = last_said('codeprompt: The engine')
  vim.cmd('CodepromptPack summarize nothing')
  seen.refused = last_said('codeprompt: No pack')

  vim.cmd('edit ' .. vim.fn.fnameescape(vim.env.CODEPROMPT_IGNORED))
  wait('the file that git ignores', function()
    return codeprompt.statusline():find('left alone')
  end)
  seen.ignored = codeprompt.statusline()
end

local fine, failure = pcall(everything)
seen.failure = not fine and tostring(failure) or nil
seen.said = said
vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.CODEPROMPT_SEEN)
vim.cmd('qall!')
