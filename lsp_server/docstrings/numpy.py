"""NumPy's docstrings: section names underlined with dashes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, Docstring, parameters_of, returns


@dataclass(frozen=True)
class Numpy(Docstring):
    """Underlined sections."""

    def sections(self, function: Function) -> list[str]:
        found: list[str] = []
        names = parameters_of(function)
        if names:
            found += ["Parameters", "-" * len("Parameters")]
            for name in names:
                found += [name, f"    {TODO}"]
        if returns(function):
            found += [*([""] if found else []), "Returns", "-" * len("Returns"), TODO]
        return found


STYLE = Numpy(
    "numpy", ("python",), re.compile(r"(?m)^\s*(?:Parameters|Returns|Raises|Yields)\s*\n\s*-{3,}")
)
