"""Ruby: RDoc comments of lines above the method, with YARD's tags where the file has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, Habit, Style, marked, parameters_of, returns, wrapped


@dataclass(frozen=True)
class Rdoc(Style):
    """`# text`, then `# @param x [Object]`."""

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        content = wrapped(summary, habit.width - 2)
        if habit.sections:
            tags = [f"@param {name} [Object] {TODO}" for name in parameters_of(function)]
            tags += [f"@return [Object] {TODO}"] if returns(function) else []
            content += ["", *tags] if tags else []
        return marked(content, "#")

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        return marked(wrapped(summary, width - 2), "#")


STYLE = Rdoc("rdoc", ("ruby",), re.compile(r"^\s*(?:#|=begin)"), Habit(opening="#"))
