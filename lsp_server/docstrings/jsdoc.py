"""JSDoc and TSDoc: `/** */` above the declaration; JavaScript's tags carry types."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, BlockStyle, Habit, parameters_of, returns


@dataclass(frozen=True)
class Jsdoc(BlockStyle):
    """`@param {*} x` where the language has no types of its own."""

    def tags(self, function: Function, habit: Habit) -> list[str]:
        kind = "{*} " if function.language.name == "javascript" else ""
        names = parameters_of(function)
        found = [f"@param {kind}{name} - {TODO}" for name in names]
        return [*found, f"@returns {kind}{TODO}"] if returns(function) else found


STYLE = Jsdoc(
    "jsdoc", ("javascript", "typescript"), re.compile(r"^\s*/\*\*"), Habit(one_line=False)
)
