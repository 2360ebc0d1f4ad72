"""textDocument/didOpen, didChange, didClose, didSave: documents come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


def register(server: CodepromptServer) -> None:
    """Wake the engine for the first document that features work on, and tell who listens."""

    async def did_open(params: types.DidOpenTextDocumentParams) -> None:
        found = await server.usable(params.text_document.uri)
        if found is None:
            return
        server.engine.threads = server.folders.of(None).threads
        server.engine.wake()
        server.spawn(server.send_project_packs(found[0]))
        server.changed(params.text_document.uri)

    async def did_change(params: types.DidChangeTextDocumentParams) -> None:
        server.changed(params.text_document.uri)

    async def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.skips.closed(params.text_document.uri)
        server.status.closed(params.text_document.uri)
        server.changed(params.text_document.uri)

    server.feature(types.TEXT_DOCUMENT_DID_OPEN)(did_open)
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(did_change)
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(did_close)
