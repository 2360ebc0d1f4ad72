"""textDocument/inlineCompletion: the documentation of a function, offered where one begins to type
it: after the opening of a docstring, or in the comment above the declaration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lsprotocol import types

from codeprompt.errors import CodepromptError
from codeprompt.languages.functions import Function
from lsp_server.debounce import Superseded
from lsp_server.documents import Document
from lsp_server.edits import sentence

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

DOCSTRING = re.compile(r"^\s*[rRuU]?(?P<open>\"\"\"|''')\s*$")
COMMENT = re.compile(r"^\s*(?P<open>/\*\*|/\*!|///|//!|//|#|\*)[ \t]*$")
ENDS = {"/**": " */", "/*!": " */"}


def register(server: CodepromptServer) -> None:
    """One item at most."""

    async def inline_completion(
        params: types.InlineCompletionParams,
    ) -> types.InlineCompletionList | None:
        uri = params.text_document.uri
        typed = params.context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
        try:
            async with server.latest.turn(("inlineCompletion", uri), wait=typed):
                return await _offer(params, typed)
        except Superseded:
            return None

    async def _offer(
        params: types.InlineCompletionParams, typed: bool
    ) -> types.InlineCompletionList | None:
        found = await server.usable(params.text_document.uri)
        if found is None or not found[1].inline_completion.enabled:
            return None
        document, settings = found
        if typed and server.rests(settings):
            return None
        place = opening(document, params.position)
        if place is None:
            return None
        function, end, before = place
        try:
            query = await server.query("summarize", document, function, settings)
            answer = await server.answers.get(query, "hover" if typed else "explicit")
        except CodepromptError:
            return None
        if answer is None or answer.confidence < settings.hover.minimum_confidence:
            return None
        item = types.InlineCompletionItem(
            insert_text=before + sentence(answer.text) + end,
            range=types.Range(start=params.position, end=params.position),
        )
        return types.InlineCompletionList(items=[item])

    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
        inline_completion
    )


def opening(document: Document, position: types.Position) -> tuple[Function, str, str] | None:
    """The function whose documentation begins at a position, what closes it, what goes before.

    None where the line holds anything else. A half-typed docstring swallows what follows it, so
    the function is looked for in the text without it.
    """
    if document.language is None:
        return None
    line = document.line(position.line)
    offset = document.offset_at(position)
    head = line[: offset - document.line_start(position.line)]
    tail = line[len(head) :].strip()
    inside = document.language.docs == "inside"
    match = (DOCSTRING if inside else COMMENT).match(head)
    if match is None or tail not in ("", match["open"], "*/"):
        return None
    start = document.line_start(position.line)
    text = document.text[:start] + document.text[start + len(line) :]
    whole = Document(document.uri, text, language_id=document.language_id, encoding="utf-32")
    function = _beside(whole, start, inside)
    if function is None:
        return None
    end = "" if tail else (match["open"] if inside else ENDS.get(match["open"], ""))
    blank = "" if inside or head.endswith((" ", "\t")) else " "
    return function, end, blank


def _beside(document: Document, offset: int, inside: bool) -> Function | None:
    """The function whose body begins right after an offset, or that begins there."""
    byte = document.byte_at(offset)
    for function in document.functions:
        at = function.body_start if inside else function.start_byte
        if at >= byte and not document.data[byte:at].strip():
            return function
    return None
