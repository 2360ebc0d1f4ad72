"""textDocument/diagnostic: warnings for editors that ask for them.

What takes long is answered with what is known; the editor is told to ask again once all is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server.answers import Query
from lsp_server.debounce import Superseded
from lsp_server.documents import Document
from lsp_server.features.diagnostics import SOURCE, Warnings
from lsp_server.packs import Chosen
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

PATIENCE = 1.0
"""Seconds before what is known is answered, where the editor can be told to ask again."""
Report = types.RelatedFullDocumentDiagnosticReport | types.RelatedUnchangedDocumentDiagnosticReport


def register(server: CodepromptServer) -> None:
    """Pull; `refresh` once the rest is there."""
    warnings = Warnings(server)
    last: dict[str, list[types.Diagnostic]] = {}

    async def diagnostic(params: types.DocumentDiagnosticParams) -> Report:
        uri = params.text_document.uri
        found = await server.usable(uri)
        pack = await warnings.pack(*found) if found else None
        if found is None or pack is None:
            return _report(server, [], params.previous_result_id)
        document, settings = found
        try:
            last[uri] = await _items(document, settings, pack)
        except Superseded:
            last.setdefault(uri, [])
        return _report(server, last[uri], params.previous_result_id)

    async def _items(
        document: Document, settings: Settings, pack: Chosen
    ) -> list[types.Diagnostic]:
        queries = warnings.queries(document, pack)
        if not all(server.answers.is_known(query) for query in queries):
            async with server.latest.turn(("diagnostic", document.uri)):
                queries = warnings.queries(document, pack)
                await _answered(document, settings, queries)
        return warnings.items(document, queries, settings)

    async def _answered(document: Document, settings: Settings, queries: list[Query]) -> None:
        work = server.spawn(warnings.ask(document, queries, settings))
        waits = None if "diagnostics" not in server.editor.refreshes else PATIENCE
        try:
            done, _ = await asyncio.wait({work}, timeout=waits)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if not done:
            work.add_done_callback(
                lambda task: None if task.cancelled() else server.shown.refresh("diagnostics")
            )

    def closed(uri: str) -> None:
        if server.documents.get(uri) is None:
            warnings.forget(uri)
            last.pop(uri, None)

    server.feature(
        types.TEXT_DOCUMENT_DIAGNOSTIC,
        types.DiagnosticOptions(
            identifier=SOURCE, inter_file_dependencies=False, workspace_diagnostics=False
        ),
    )(diagnostic)
    server.on_change.append(closed)
    server.on_packs.append(lambda: server.shown.refresh("diagnostics"))


def _report(
    server: CodepromptServer, items: Sequence[types.Diagnostic], before: str | None
) -> Report:
    plain: Any = server.protocol._converter.unstructure(list(items))
    result = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
    if result == before:
        return types.RelatedUnchangedDocumentDiagnosticReport(result_id=result)
    return types.RelatedFullDocumentDiagnosticReport(items=list(items), result_id=result)
