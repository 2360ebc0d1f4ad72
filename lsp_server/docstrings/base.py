"""What a style of documentation is: how it is recognised, and the lines it writes.

A style gives lines without indentation; `edit` puts them in place. Text that a model wrote is made
safe for the comment it stands in.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from codeprompt.languages.functions import Function

TODO = "TODO"


@dataclass(frozen=True)
class Habit:
    """How a file writes its documentation.

    quote: Python's. raw: the string to be replaced in part is raw. one_line: short texts stand
    on one line. next_line: the text begins on the line after the opening. mark: what opens a tag,
    `@` or `\\`. opening: the comment's (`/**`, `///`).
    brief: the summary is tagged. sections: parameters are documented too. width: of a line.
    """

    quote: str = '"""'
    raw: bool = False
    one_line: bool = True
    next_line: bool = False
    mark: str = "@"
    opening: str = "/**"
    brief: bool = False
    sections: bool = False
    width: int = 88


@dataclass(frozen=True)
class Style:
    """One style. languages: registry names. pattern: finds it in a documentation's text.

    place: inside the body (docstring), or before the declaration.
    """

    name: str
    languages: tuple[str, ...]
    pattern: re.Pattern[str]
    habit: Habit = field(default_factory=Habit)
    place: Literal["inside", "before"] = "before"

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        """The documentation, whole."""
        raise NotImplementedError

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        """Only its beginning, for one whose rest stays: opening and summary, unclosed."""
        raise NotImplementedError


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width`; words are never broken."""
    found: list[str] = []
    for line in text.split("\n"):
        found += textwrap.wrap(
            line, max(20, width), break_long_words=False, break_on_hyphens=False
        ) or [""]
    return found


def parameters_of(function: Function) -> list[str]:
    """Parameters worth a line: without the receiver, stars and marks."""
    names = [name.lstrip("*&$").strip(".") for name in function.parameters]
    kept = [name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name)]
    receiver = ("self", "cls", "this")
    return [name for place, name in enumerate(kept) if place or name not in receiver]


def returns(function: Function) -> bool:
    """Whether some `return` of the function gives a value."""
    body = function.source[function.body_start : function.body_end].decode("utf-8", "replace")
    return re.search(r"\breturn\b[ \t]+(?!;)[^\s}]", body) is not None


def block(
    content: Sequence[str], habit: Habit, *, opening: str = "/**", prefix: str = " *"
) -> list[str]:
    """A comment of several lines: opening, each line behind the prefix, closing."""
    safe = [line.replace("*/", "* /") for line in content]
    if habit.one_line and len(safe) == 1 and len(safe[0]) + len(opening) + 4 <= habit.width:
        return [f"{opening} {safe[0]} */"]
    return [opening, *(f"{prefix} {line}".rstrip() for line in safe), " */"]


def marked(content: Sequence[str], mark: str) -> list[str]:
    """Every line behind a mark of line comments."""
    return [f"{mark} {line}".rstrip() for line in content]


@dataclass(frozen=True)
class BlockStyle(Style):
    """Styles in `/** */`: the summary, then tags."""

    def summary(self, text: str, habit: Habit) -> str:
        """The first line's text."""
        return text

    def tags(self, function: Function, habit: Habit) -> list[str]:
        """A line for each parameter and the result."""
        found = [f"@param {name} {TODO}" for name in parameters_of(function)]
        return [*found, f"@return {TODO}"] if returns(function) else found

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        content = wrapped(self.summary(summary, habit), habit.width - 3)
        tags = self.tags(function, habit) if habit.sections else []
        return block([*content, "", *tags] if tags else content, habit, opening=habit.opening)

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        text = self.summary(summary, habit).replace("*/", "* /")
        return [habit.opening, *(f" * {line}" for line in wrapped(text, width - 3))]


@dataclass(frozen=True)
class Docstring(Style):
    """Python's: a string that opens the body; the sections tell the styles apart."""

    place: Literal["inside", "before"] = "inside"

    def sections(self, function: Function) -> list[str]:
        """Lines of parameters and result."""
        raise NotImplementedError

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        raw, text = _quotable(summary, habit.quote)
        opening = raw + habit.quote
        added = self.sections(function) if habit.sections else []
        content = wrapped(text, habit.width - (0 if habit.next_line else len(opening)))
        short = len(content) == 1 and len(text) + len(opening) + 3 <= habit.width
        if short and not added and habit.one_line:
            return [f"{opening}{text}{habit.quote}"]
        first = [opening, *content] if habit.next_line else [opening + content[0], *content[1:]]
        return [*first, *(["", *added] if added else []), habit.quote]

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        _, text = _quotable(summary, habit.quote)
        text = text.strip() if habit.raw else text.strip().replace("\\", "\\\\")
        opening = ("r" if habit.raw else "") + habit.quote
        content = wrapped(text, width - len(opening))
        return [opening, *content] if habit.next_line else [opening + content[0], *content[1:]]


def _quotable(text: str, quote: str) -> tuple[str, str]:
    """A prefix and a text that may stand between the quotes."""
    other = "'''" if quote == '"""' else '"""'
    text = text.replace(quote, other)
    if text.endswith(quote[0]):
        text += " "
    if text.endswith("\\"):
        text += " "
    return ("r" if "\\" in text else ""), text
