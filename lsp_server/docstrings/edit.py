"""One edit that gives a function its documentation, in bytes of the file.

A docstring goes right below the head, before the comments that a body may begin with; a one-line
body is broken first. A comment
goes above the declaration, its decorators included. Where documentation is there already, its first
paragraph is replaced and the rest (parameters, examples) stays as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import Habit, Style
from lsp_server.docstrings.habits import choose

BLANK = re.compile(rb"[ \t]*")
ASIDE = re.compile(rb"[ \t]*(?:#(?!\s*type:).*)?\r?")
"""A line that may stand between head and docstring and then stands below it; a type comment may not
move (PEP 484)."""
DECORATOR = re.compile(rb"[ \t]*(?:@[A-Za-z_]|#\[)")
TAG = re.compile(
    r"^(?:[@\\](?!brief\b)[a-z]+|:[a-z]+[^:]*:|<(?!summary|/summary)\w+"
    r"|(?:Args|Arguments|Returns|Raises|Yields|Examples?|Notes?|Parameters|Attributes)\b\s*:?\s*$)"
)


@dataclass(frozen=True)
class Replacement:
    """Bytes `[start, end)` become `text`. style: its name."""

    start: int
    end: int
    text: str
    style: str


def documentation_edit(
    function: Function, everything: list[Function], summary: str, *, style: str = "auto",
    sections: str = "auto",
) -> Replacement | None:  # fmt: skip
    """The edit; None where the language has no style, or the function no body to write into.

    everything: the functions of the file, for its habit. style: a name, or the file's own.
    """
    data = function.source
    head = data[:200_000].decode("utf-8", "replace")
    chosen = choose(function.language, everything, head, wanted=style)
    if chosen is None:
        return None
    kind, habit = chosen
    if sections != "auto":
        habit = replace(habit, sections=sections == "always")
    newline = newline_of(data)
    if function.doc_end > function.doc_start:
        return _replaced(function, kind, habit, summary, newline)
    if kind.place == "inside":
        return _inside(function, kind, habit, summary, newline)
    return _before(function, kind, habit, summary, newline)


def newline_of(data: bytes) -> str:
    """The line break that a file has most of."""
    pairs = data.count(b"\r\n")
    lone, returns = data.count(b"\n") - pairs, data.count(b"\r") - pairs
    most = max(pairs, lone, returns)
    return "\r\n" if pairs == most and most else "\r" if returns == most and most else "\n"


def line_begin(data: bytes, offset: int) -> int:
    """Where the line of an offset begins."""
    return max(data.rfind(b"\n", 0, offset), data.rfind(b"\r", 0, offset)) + 1


def indent_at(data: bytes, offset: int) -> str:
    """The blanks that the line of an offset begins with."""
    found = BLANK.match(data, line_begin(data, offset))
    return found[0].decode() if found else ""


def _joined(lines: list[str], indent: str, newline: str) -> str:
    """Lines as they stand in the file; the first one's indentation is there already."""
    first, *rest = lines
    return newline.join([first, *((indent + line if line else "") for line in rest)])


def _narrowed(habit: Habit, indent: str) -> Habit:
    return replace(habit, width=max(40, habit.width - len(indent.expandtabs(4))))


def _inside(
    function: Function, kind: Style, habit: Habit, summary: str, newline: str
) -> Replacement | None:
    data, body = function.source, function.body_start
    if function.body_end <= body:
        return None
    begin = line_begin(data, body)
    outer = indent_at(data, function.start_byte)
    if data[begin:body].strip():
        unit = "\t" if "\t" in outer else _unit(data)
        indent = outer + unit
        start = body - len(data[:body]) + len(data[:body].rstrip(b" \t"))
        lead = newline + indent
    elif (top := _below_head(data, function.start_byte, begin)) < begin:
        indent = data[begin:body].decode()
        lines = kind.lines(summary, function, _narrowed(habit, indent))
        return Replacement(top, top, indent + _joined(lines, indent, newline) + newline, kind.name)
    else:
        indent, start, lead = data[begin:body].decode(), body, ""
    lines = kind.lines(summary, function, _narrowed(habit, indent))
    text = lead + _joined(lines, indent, newline) + newline + indent
    return Replacement(start, body, text, kind.name)


def _below_head(data: bytes, start: int, begin: int) -> int:
    """Where the line below a function's head begins: above the comments and blank lines, if any,
    that stand before the first statement, whose line begins at `begin`."""
    while (above := line_begin(data, _end_above(data, begin))) > start:
        if not ASIDE.fullmatch(data, above, _end_above(data, begin)):
            break
        begin = above
    return begin


def _unit(data: bytes) -> str:
    """One step of indentation: of the first indented line."""
    found = re.search(rb"(?m)^([ \t]+)\S", data)
    return found[1].decode() if found and len(found[1]) <= 8 else "    "


def _before(
    function: Function, kind: Style, habit: Habit, summary: str, newline: str
) -> Replacement:
    data = function.source
    begin = line_begin(data, function.start_byte)
    indent = indent_at(data, begin)
    if data[begin : function.start_byte].strip():
        at = function.start_byte  # shares its line with other code
    else:
        while begin > 0:
            above = line_begin(data, _end_above(data, begin))
            if not DECORATOR.match(data, above) or function.language.name not in DECORATED:
                break
            begin = above
        at = begin + len(indent_at(data, begin))
        indent = indent_at(data, begin)
    lines = kind.lines(summary, function, _narrowed(habit, indent))
    return Replacement(at, at, _joined(lines, indent, newline) + newline + indent, kind.name)


DECORATED = frozenset({"javascript", "typescript", "php"})
"""Languages whose decorators stand beside the declaration in the tree, not in it."""


def _end_above(data: bytes, begin: int) -> int:
    """The end of the line above, before its line break."""
    end = begin - 1
    return end - 1 if data[end - 1 : end + 1] == b"\r\n" else end


def _replaced(
    function: Function, kind: Style, habit: Habit, summary: str, newline: str
) -> Replacement:
    start, end = function.doc_start, function.doc_end
    indent = indent_at(function.source, start)
    narrow = _narrowed(habit, indent)
    opened = re.match(r"(\w*)(\"{3}|'{3})", function.doc)
    if opened is not None and kind.place == "inside":
        narrow = replace(narrow, quote=opened[2], raw="r" in opened[1].lower())
    raw = re.split(r"\r\n|\r|\n", function.doc)
    rest = _rest(raw)
    if rest is None:
        lines = kind.lines(summary, function, replace(narrow, sections=False))
    else:
        head = kind.head(summary, narrow, narrow.width)
        lines = [*head, *(line.removeprefix(indent) for line in raw[rest:])]
        if kind.name == "godoc":
            lines = [*kind.lines(summary, function, narrow), *lines[len(head) :]]
    return Replacement(start, end, _joined(lines, indent, newline), kind.name)


def _rest(lines: list[str]) -> int | None:
    """The number of the line from which documentation stays; None where it is all summary."""
    seen = False
    for number, line in enumerate(lines):
        text = _bare(line)
        if re.search(r"</summary>", line):
            more = [one for one in lines[number + 1 :] if _bare(one)]
            return number + 1 if more else None
        if text and not TAG.match(text):
            seen = True
        elif (seen and not text) or (text and TAG.match(text)):
            remains = any(_bare(one) for one in lines[number:])
            if remains and number:
                return number
            if not remains:
                return None
    return None


def _bare(line: str) -> str:
    """A line's text without the marks of comments and quotes."""
    text = re.sub(r"^\s*(?:\w{0,2}(?:\"{3}|'{3})|/\*[*!]?|\*/|\*(?!\*)|//[/!]?|#+)?\s?", "", line)
    return re.sub(r"(?:\*/|\"{3}|'{3})\s*$", "", text).strip()
