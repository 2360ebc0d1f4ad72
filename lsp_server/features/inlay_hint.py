"""textDocument/inlayHint: off by default; the summary behind the head of an undocumented function.

Hints show what is known; what is not is computed in the background, then the editor asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from codeprompt.errors import CodepromptError
from lsp_server.answers import Query
from lsp_server.debounce import Superseded
from lsp_server.engine import bounded
from lsp_server.features.hover import head_end

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

LONGEST = 72
AT_ONCE = 4


def register(server: CodepromptServer) -> None:
    """Hints for the functions in sight."""

    async def inlay_hint(params: types.InlayHintParams) -> list[types.InlayHint]:
        uri = params.text_document.uri
        try:
            async with server.latest.turn(("inlayHint", uri)):
                return await _hints(params)
        except Superseded:
            return []

    async def _hints(params: types.InlayHintParams) -> list[types.InlayHint]:
        found = await server.usable(params.text_document.uri)
        if found is None or not found[1].inlay_hints.enabled or server.rests(found[1]):
            return []
        document, settings = found
        try:
            pack = await server.pack_for("summarize", document, settings)
        except CodepromptError:
            return []
        hints, missing = [], []
        for function in document.functions_within(params.range):
            if function.doc_end > function.doc_start or function.body_is_trivial:
                continue
            query = server.question("summarize", document, function, pack)
            answer = server.answers.known(query)
            if answer is None:
                missing += [] if server.answers.is_known(query) else [query]
            elif answer.confidence >= settings.hover.minimum_confidence:
                line = document.line_at(document.char_at(head_end(function)))
                end = document.line_start(line) + len(document.line(line).rstrip("\r\n"))
                hints.append(
                    types.InlayHint(
                        position=document.position_at(end),
                        label=_short(answer.text),
                        padding_left=True,
                        tooltip=f"Written by a model: {answer.pack}, "
                        f"confidence {answer.confidence:.0%}",
                    )
                )
        if missing:
            server.spawn(_rest(missing))
        return hints

    async def _rest(missing: list[Query]) -> None:
        await bounded([server.answers.get(q, "diagnostics") for q in missing], AT_ONCE)
        if any(server.answers.is_known(query) for query in missing):
            server.shown.refresh("inlay_hint")

    server.feature(types.TEXT_DOCUMENT_INLAY_HINT, types.InlayHintOptions())(inlay_hint)
    server.on_packs.append(lambda: server.shown.refresh("inlay_hint"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
