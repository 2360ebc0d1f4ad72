"""textDocument/publishDiagnostics: warnings for editors that cannot ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from lsp_server.debounce import Superseded
from lsp_server.features.diagnostics import Warnings

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


def register(server: CodepromptServer) -> None:
    """Push after a pause in typing, and when packs change."""
    warnings = Warnings(server)
    published: set[str] = set()

    def changed(uri: str) -> None:
        if server.documents.get(uri) is None:
            warnings.forget(uri)
            if uri in published:
                _publish(uri, [], None)
        else:
            server.spawn(_look(uri))

    async def _look(uri: str) -> None:
        try:
            async with server.latest.turn(("diagnostics", uri)) as turn:
                found = await server.usable(uri)
                pack = await warnings.pack(*found) if found else None
                if found is None or pack is None:
                    if uri in published:
                        _publish(uri, [], None)
                    return
                document, settings = found
                queries = warnings.queries(document, pack)
                await warnings.ask(document, queries, settings)
                if not server.latest.current(("diagnostics", uri), turn):
                    return
                if server.documents.get(uri) is document:
                    items = warnings.items(document, queries, settings)
                    _publish(uri, items, document.version)
        except Superseded:
            return

    def _publish(uri: str, items: list[types.Diagnostic], version: int | None) -> None:
        if items:
            published.add(uri)
        elif uri in published:
            published.discard(uri)
        else:
            return
        server.protocol.notify(
            types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS,
            types.PublishDiagnosticsParams(uri=uri, diagnostics=items, version=version),
        )

    def look_again() -> None:
        for document in server.documents:
            changed(document.uri)

    server.on_change.append(changed)
    server.on_packs.append(look_again)
