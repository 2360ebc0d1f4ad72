"""workspace/textDocumentContent: the texts of our own documents (`codeprompt:/...`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.failures import refused

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


def register(server: CodepromptServer) -> None:
    """What `Shown` keeps."""

    async def content(params: types.TextDocumentContentParams) -> types.TextDocumentContentResult:
        text = server.shown.texts.get(params.uri)
        if text is None:
            raise refused("This document is not kept any more; make it again")
        return types.TextDocumentContentResult(text=text)

    server.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT)(content)
