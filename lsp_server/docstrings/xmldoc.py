"""C#'s XML documentation: `/// <summary>` above the declaration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, Habit, Style, marked, parameters_of, returns, wrapped


@dataclass(frozen=True)
class Xmldoc(Style):
    """Elements on lines behind `///`."""

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        text = escape(summary)
        if habit.one_line and len(text) + 23 <= width:
            return [f"/// <summary>{text}</summary>"]
        return marked(["<summary>", *wrapped(text, width - 4), "</summary>"], "///")

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        found = self.head(summary, habit, habit.width)
        if habit.sections:
            names = parameters_of(function)
            found += [f'/// <param name="{name}">{TODO}</param>' for name in names]
            if returns(function):
                found.append(f"/// <returns>{TODO}</returns>")
        return found


STYLE = Xmldoc("xmldoc", ("c-sharp",), re.compile(r"^\s*///"), Habit(opening="///", one_line=False))
