"""The features, one file each with LSP's own name; `register(server)` adds its handlers.

Those that only some editors can use are added when `initialize` says so.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

ALWAYS = (
    "synchronization",
    "configuration",
    "hover",
    "code_action",
    "code_lens",
    "inlay_hint",
    "execute_command",
)


def register_all(server: CodepromptServer) -> None:
    """What every editor may use."""
    for name in ALWAYS:
        importlib.import_module(f"lsp_server.features.{name}").register(server)


def register_for(server: CodepromptServer) -> None:
    """What this editor announces; diagnostics by pull or by push, never both."""
    editor = server.editor
    names = ["diagnostic" if editor.pull else "publish_diagnostics"]
    names += ["inline_completion"] if editor.inline else []
    names += ["text_document_content"] if editor.virtual else []
    for name in names:
        importlib.import_module(f"lsp_server.features.{name}").register(server)
