-- For `vim.lsp.enable('codeprompt')` alone (Neovim 0.11 and later); `setup` does the same and more.
return require('codeprompt.client').config()
