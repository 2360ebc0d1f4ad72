"""What pull and push diagnostics share: functions that look defective, as warnings.

A warning says its probability, how common defects were among the pack's rows, and how many of its
warnings were right on validation. Once shown it stays until the probability falls a margin below
the threshold, so that typing does not make it flicker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from codeprompt.check.ignore import is_ignored
from codeprompt.errors import CodepromptError
from codeprompt.languages.functions import Function
from lsp_server.answers import Answer, Query
from lsp_server.cards import Facts
from lsp_server.docstrings.edit import indent_at, line_begin, newline_of
from lsp_server.documents import Document
from lsp_server.features.hover import head_range
from lsp_server.features.places import parts_told, range_of, related
from lsp_server.packs import Chosen
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

SOURCE = "codeprompt"
CODE = "defect"
USUAL_THRESHOLD = 0.5
AT_ONCE = 8
SEVERITIES = {
    "warning": types.DiagnosticSeverity.Warning,
    "information": types.DiagnosticSeverity.Information,
    "hint": types.DiagnosticSeverity.Hint,
}


class Warnings:
    """The warnings of each document, and which functions are warned about."""

    def __init__(self, server: CodepromptServer) -> None:
        self.server = server
        self._warned: dict[str, set[str]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def forget(self, uri: str) -> None:
        """A document was closed."""
        self._warned.pop(uri, None)

    async def pack(self, document: Document, settings: Settings) -> Chosen | None:
        """The pack that warns here; None where warnings are off, or not worth it."""
        if settings.diagnostics.mode == "off" or self.server.rests(settings):
            return None
        try:
            pack = await self.server.pack_for("defect", document, settings)
        except CodepromptError:
            return None
        if settings.diagnostics.mode == "auto" and not worth(pack.facts):
            self.server.status.say(unworthy(pack))
            return None
        return pack

    def queries(self, document: Document, pack: Chosen) -> list[Query]:
        """A question for each function with a body that no comment asks to leave out."""
        lines = document.data.decode("utf-8", "replace").split("\n")
        return [
            self.server.question("defect", document, function, pack)
            for function in document.functions
            if not function.body_is_trivial and not is_ignored(lines, function.start_line)
        ]

    async def ask(self, document: Document, queries: Sequence[Query], settings: Settings) -> None:
        """Have every question answered, and where a pack localizes, where the defects are.

        What cannot be answered is left out.
        """
        await self._ask(queries)
        found = [self._located(document, query, settings) for query in queries]
        await self._ask([query for query in found if query is not None])

    def _located(self, document: Document, query: Query, settings: Settings) -> Query | None:
        """The question for the lines of a function that is warned about; None without a pack."""
        answer = self.server.answers.known(query)
        if answer is None or answer.confidence < self._least(document, query, settings):
            return None
        pack = self.server.choose("localize", document, settings)
        if pack is None:
            return None
        return self.server.question("localize", document, query.function, pack)

    def _least(self, document: Document, query: Query, settings: Settings) -> float:
        """From which probability on: lower for a function that is warned about already."""
        least = threshold(settings, query.pack.facts)
        warned = self._warned.get(document.uri, set())
        name = query.function.qualified_name
        return least - settings.diagnostics.margin if name in warned else least

    async def _ask(self, queries: Sequence[Query]) -> None:

        async def one(query: Query) -> None:
            async with self._gate:
                try:
                    await self.server.answers.get(query, "diagnostics")
                except CodepromptError as error:
                    self.server.status.log(str(error))

        async with asyncio.TaskGroup() as group:
            for query in queries:
                if not self.server.answers.is_known(query):
                    group.create_task(one(query))

    def items(
        self, document: Document, queries: Sequence[Query], settings: Settings
    ) -> list[types.Diagnostic]:
        """Warnings by the answers that are there."""
        before, after = self._warned.get(document.uri, set()), set()
        found = []
        for query in queries:
            name = query.function.qualified_name
            answer = self.server.answers.known(query)
            if answer is None:
                after |= before & {name}
                continue
            if answer.confidence >= self._least(document, query, settings):
                after.add(name)
                located = self._located(document, query, settings)
                lines = self.server.answers.known(located) if located else None
                relates = self.server.editor.relates
                found.append(
                    diagnostic_of(document, query, answer, settings, lines, relates=relates)
                )
        self._warned[document.uri] = after
        return found


def threshold(settings: Settings, facts: Facts | None) -> float:
    """From which probability on to warn: as set, else the pack's own."""
    if settings.diagnostics.threshold is not None:
        return settings.diagnostics.threshold
    return facts.threshold if facts and facts.threshold is not None else USUAL_THRESHOLD


def worth(facts: Facts | None) -> bool:
    """Whether a pack's warnings are better than none."""
    return facts is not None and facts.beats_never


def unworthy(pack: Chosen) -> str:
    """Why a pack does not warn by itself."""
    facts = pack.facts
    if facts is None or facts.accuracy is None or facts.never is None:
        return (
            f"Warnings are off: {pack.shown} tells no accuracy on validation rows. "
            "codeprompt.diagnostics.mode 'on' shows them anyway."
        )
    return (
        f"Warnings are off: {pack.shown} is right on {facts.accuracy:.0%} of its validation rows, "
        f"and never warning would be on {facts.never:.0%}. "
        "codeprompt.diagnostics.mode 'on' shows them anyway."
    )


def diagnostic_of(
    document: Document,
    query: Query,
    answer: Answer,
    settings: Settings,
    located: Answer | None = None,
    *,
    relates: bool = False,
) -> types.Diagnostic:
    """A warning on the head of a function, or on the likeliest lines that a localizing pack tells.

    relates: the editor shows related places.
    """
    function = query.function
    place = head_range(document, function)
    parts = parts_told(located.lines) if located is not None else []
    data: dict[str, Any] = {
        "probability": round(answer.confidence, 4),
        "pack": query.pack.label,
        "function": function.qualified_name,
    }
    where = ""
    if located is not None and parts:
        place = range_of(document, function, parts[0])
        where = f", likeliest here ({parts[0].probability:.0%}, {located.pack})"
    return types.Diagnostic(
        range=place,
        message=message(function, answer, query.pack, where),
        severity=SEVERITIES[settings.diagnostics.severity],
        code=CODE,
        source=SOURCE,
        data=data,
        related_information=(related(document, function, parts[1:]) or None) if relates else None,
    )


def message(function: Function, answer: Answer, pack: Chosen, where: str = "") -> str:
    """The warning's text, with what it takes to weigh it."""
    parts = [f"{function.name} may have a defect{where}: probability {answer.confidence:.0%}"]
    facts = pack.facts
    if facts is not None and facts.base_rate is not None:
        parts.append(f"base rate {facts.base_rate:.0%}")
    if facts is not None and facts.precision is not None:
        right = f"{facts.precision:.0%} of such warnings were right on validation"
        parts.append(right + (f" (n={facts.rows})" if facts.rows else ""))
    return "; ".join(parts) + f" [{pack.shown}]"


def ignore_edit(document: Document, function: Function) -> types.TextEdit:
    """A comment above a function that `check` and this server honour."""
    data = function.source
    mark = function.language.line_comments[-1]
    begin = line_begin(data, function.start_byte)
    indent = indent_at(data, begin)
    at = document.position_at(document.char_at(begin))
    text = f"{indent}{mark} codeprompt: ignore{newline_of(data)}"
    return types.TextEdit(range=types.Range(start=at, end=at), new_text=text)
