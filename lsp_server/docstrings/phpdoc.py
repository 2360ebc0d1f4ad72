"""PHPDoc: `/** */` above the declaration, `@param mixed $x`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, BlockStyle, Habit, parameters_of, returns


@dataclass(frozen=True)
class Phpdoc(BlockStyle):
    """Tags with types and dollar signs."""

    def tags(self, function: Function, habit: Habit) -> list[str]:
        found = [f"@param mixed ${name} {TODO}" for name in parameters_of(function)]
        return [*found, f"@return mixed {TODO}"] if returns(function) else found


STYLE = Phpdoc("phpdoc", ("php",), re.compile(r"^\s*/\*\*"), Habit(one_line=False))
