"""textDocument/hover: a summary of the function whose head, or call, is under the cursor.

In a body, away from calls, there is nothing to say. A hover cannot be pushed: over the budget it
says that the answer is being computed, and the next hover has it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING

from lsprotocol import types

from codeprompt.errors import CodepromptError
from codeprompt.languages.functions import Function
from lsp_server.answers import Answer
from lsp_server.documents import Document

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

BREAK = re.compile(rb"[\r\n]")
WORD = re.compile(r"[\w$]+[?!]?")
BEHIND = 8
"""Computations that go on with nobody waiting."""
ESCAPED = re.compile(r"([\\`*_{}\[\]<>#|~])")


def register(server: CodepromptServer) -> None:
    """Answers within the budget, whatever the engine does."""

    behind: deque[asyncio.Future[Answer | None]] = deque()

    async def hover(params: types.HoverParams) -> types.Hover | None:
        found = await server.usable(params.text_document.uri)
        if found is None or not found[1].hover.enabled:
            return None
        document, settings = found
        offset = document.offset_at(params.position)
        function = pointed_at(document, offset)
        if function is None:
            return None
        place = head_range(document, function) if _heads(document, function, offset) else None

        async def asked() -> Answer | None:
            query = await server.query("summarize", document, function, settings)
            return await server.answers.get(query, "hover")

        work = asyncio.ensure_future(asked())
        try:
            done, _ = await asyncio.wait({work}, timeout=settings.hover.budget / 1000)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if not done:
            _leave(behind, work)
            return _shown(server, _waiting(server), place)
        try:
            answer = work.result()
        except CodepromptError as error:
            return _shown(server, f"codeprompt: {_first(str(error))}", place)
        return _shown(server, told(answer, settings.hover.minimum_confidence, server), place)

    server.feature(types.TEXT_DOCUMENT_HOVER)(hover)


def _leave(
    behind: deque[asyncio.Future[Answer | None]], work: asyncio.Future[Answer | None]
) -> None:
    """Let a computation go on for the next hover; of many, the newest."""
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    behind.append(work)
    while len(behind) > BEHIND:
        behind.popleft().cancel()


def pointed_at(document: Document, offset: int) -> Function | None:
    """The function whose head is at an offset, or the one of this file that is named there."""
    function = document.function_at(offset)
    if function is not None and _heads(document, function, offset):
        return function
    line = document.line_at(offset)
    column = offset - document.line_start(line)
    word = next(
        (m[0] for m in WORD.finditer(document.line(line)) if m.start() <= column <= m.end()), ""
    )
    named = [one for one in document.functions if one.name == word]
    byte = document.byte_at(offset)
    return min(named, key=lambda one: abs(one.start_byte - byte), default=None) if word else None


def _heads(document: Document, function: Function, offset: int) -> bool:
    byte = document.byte_at(offset)
    return function.start_byte <= byte <= head_end(function)


def head_end(function: Function) -> int:
    """The byte at which a function's head ends: before its body, else with its first line."""
    start, end = function.start_byte, function.end_byte
    if function.body_end > function.body_start:
        return start + len(function.source[start : function.body_start].rstrip())
    line = BREAK.search(function.source, start, end)
    return start + len(function.source[start : line.start() if line else end].rstrip())


def head_range(document: Document, function: Function) -> types.Range:
    """The range of a function's head."""
    start = document.char_at(function.start_byte)
    return document.range(start, document.char_at(head_end(function)))


def told(answer: Answer | None, least: float, server: CodepromptServer) -> str:
    """An answer as people read it; where the model is not sure, that."""
    if answer is None:
        return "codeprompt: the model has nothing to say about this function."
    if answer.confidence < least:
        return (
            f"codeprompt: no summary; the model is not sure "
            f"(confidence {answer.confidence:.0%}, least {least:.0%})."
        )
    text = ESCAPED.sub(r"\\\1", answer.text) if server.editor.markdown else answer.text
    source = f"Written by a model: {answer.pack}, confidence {answer.confidence:.0%}"
    return f"{text}\n\n*{source}*" if server.editor.markdown else f"{text}\n({source})"


def _waiting(server: CodepromptServer) -> str:
    state = server.engine.state
    if state.kind == "ready":
        return "codeprompt: computing; the next hover has the summary."
    return f"codeprompt: {state.message} The summary comes with a later hover."


def _shown(server: CodepromptServer, text: str, place: types.Range | None) -> types.Hover:
    kind = types.MarkupKind.Markdown if server.editor.markdown else types.MarkupKind.PlainText
    return types.Hover(contents=types.MarkupContent(kind=kind, value=text), range=place)


def _first(message: str) -> str:
    """The first sentence of a message."""
    return re.split(r"(?<=[.?!])\s", message, maxsplit=1)[0]
