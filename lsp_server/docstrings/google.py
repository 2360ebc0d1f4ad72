"""Google's docstrings: `Args:`, `Returns:`; also what Python files without sections get."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, Docstring, parameters_of, returns


@dataclass(frozen=True)
class Google(Docstring):
    """Sections with indented lines."""

    def sections(self, function: Function) -> list[str]:
        names = parameters_of(function)
        found = ["Args:", *(f"    {name}: {TODO}" for name in names)] if names else []
        if returns(function):
            found += [*([""] if found else []), "Returns:", f"    {TODO}"]
        return found


STYLE = Google("google", ("python",), re.compile(r"(?m)^\s*(?:Args|Returns|Raises|Yields):\s*$"))
