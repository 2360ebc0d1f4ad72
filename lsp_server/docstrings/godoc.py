"""Go: comments of lines right above the declaration, the first word of which is its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import Habit, Style, marked, wrapped


@dataclass(frozen=True)
class Godoc(Style):
    """`// Name does this.`"""

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        return marked(wrapped(named(summary, function.name), habit.width - 3), "//")

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        return marked(wrapped(summary, width - 3), "//")


def named(summary: str, name: str) -> str:
    """A sentence that begins with the function's name, as `go doc` wants it."""
    first, _, rest = summary.partition(" ")
    if first.strip(",.;:") == name:
        return summary
    lowered = first[:1].lower() + first[1:] if not first.isupper() else first
    return f"{name} {lowered} {rest}".rstrip()


STYLE = Godoc("godoc", ("go",), re.compile(r"^\s*(?://|/\*)"), Habit(opening="//"))
