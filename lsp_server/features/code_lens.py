"""textDocument/codeLens and codeLens/resolve: off by default; "write documentation" where it lacks.

The list asks no model: a lens is a place and a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.features.code_action import DOCUMENT, reference
from lsp_server.features.hover import head_range

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


def register(server: CodepromptServer) -> None:
    """Lenses above functions without documentation."""

    async def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        found = await server.usable(params.text_document.uri)
        if found is None or not found[1].code_lens.enabled or server.rests(found[1]):
            return []
        document, settings = found
        if not settings.docstring.enabled:
            return []
        return [
            types.CodeLens(range=head_range(document, function), data=reference(document, function))
            for function in document.functions
            if function.doc_end == function.doc_start and not function.body_is_trivial
        ]

    async def resolve(lens: types.CodeLens) -> types.CodeLens:
        if lens.command is None:
            lens.command = types.Command(
                title="Write documentation", command=DOCUMENT, arguments=[lens.data]
            )
        return lens

    server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions())(code_lens)
    server.feature(types.CODE_LENS_RESOLVE)(resolve)
    server.on_packs.append(lambda: server.shown.refresh("code_lens"))
