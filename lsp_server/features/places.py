"""Where in a function a warning stands: on its head, or on the lines that a localizing pack tells.

One warning a function: it stands on the likeliest lines; the others are its related places.
"""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol import types

from codeprompt.languages.functions import Function
from lsp_server.documents import Document

MOST = 8
"""Related places of one warning."""


@dataclass(frozen=True)
class Part:
    """Neighbouring lines, 1-based within the function's text without documentation.

    probability: of the likeliest of them.
    """

    first: int
    last: int
    probability: float


def parts_told(lines: tuple[tuple[int, int, float], ...]) -> list[Part]:
    """Lines that a pack tells (first, last, probability) as parts, the likeliest first."""
    parts: list[Part] = []
    for first, last, probability in sorted(lines):
        if parts and first <= parts[-1].last + 1:
            before = parts.pop()
            first, last = before.first, max(last, before.last)
            probability = max(probability, before.probability)
        parts.append(Part(first, last, probability))
    return sorted(parts, key=lambda part: (-part.probability, part.first))


def range_of(document: Document, function: Function, part: Part) -> types.Range:
    """A part's range, from its first character to its last: no indentation, no line break."""
    moved = document.first_line(function) - function.start_line
    first, last = (function.file_line(line) + moved for line in (part.first, part.last))
    head, tail = document.line(first), document.line(last)
    start = document.line_start(first) + len(head) - len(head.lstrip())
    return document.range(start, max(start, document.line_start(last) + len(tail.rstrip())))


def related(
    document: Document, function: Function, parts: list[Part]
) -> list[types.DiagnosticRelatedInformation]:
    """The places of further parts."""
    return [
        types.DiagnosticRelatedInformation(
            location=types.Location(uri=document.uri, range=range_of(document, function, part)),
            message=f"or here: {part.probability:.0%}",
        )
        for part in parts[:MOST]
    ]
