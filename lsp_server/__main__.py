"""`python -m lsp_server`."""

from __future__ import annotations

from lsp_server.main import main

main()
