"""Doxygen: `/** */`, `/*! */`, `///` or `//!`, with `@brief` or `\\brief` as the file has it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import (
    TODO,
    BlockStyle,
    Habit,
    marked,
    parameters_of,
    returns,
    wrapped,
)


@dataclass(frozen=True)
class Doxygen(BlockStyle):
    """Blocks or lines; commands after `@` or a backslash."""

    def summary(self, text: str, habit: Habit) -> str:
        return f"{habit.mark}brief {text}" if habit.brief else text

    def tags(self, function: Function, habit: Habit) -> list[str]:
        found = [f"{habit.mark}param {name} {TODO}" for name in parameters_of(function)]
        return [*found, f"{habit.mark}return {TODO}"] if returns(function) else found

    def lines(self, summary: str, function: Function, habit: Habit) -> list[str]:
        if habit.opening.startswith("/*"):
            return super().lines(summary, function, habit)
        content = wrapped(self.summary(summary, habit), habit.width - len(habit.opening) - 1)
        tags = self.tags(function, habit) if habit.sections else []
        return marked([*content, "", *tags] if tags else content, habit.opening)

    def head(self, summary: str, habit: Habit, width: int) -> list[str]:
        if habit.opening.startswith("/*"):
            return super().head(summary, habit, width)
        text = self.summary(summary, habit)
        return marked(wrapped(text, width - len(habit.opening) - 1), habit.opening)


STYLE = Doxygen("doxygen", ("c", "cpp"), re.compile(r"^\s*(?:/\*|//)"), Habit(one_line=False))
