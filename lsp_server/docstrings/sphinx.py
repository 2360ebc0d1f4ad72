"""Sphinx's docstrings: fields such as `:param x:`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import TODO, Docstring, parameters_of, returns


@dataclass(frozen=True)
class Sphinx(Docstring):
    """A field list."""

    def sections(self, function: Function) -> list[str]:
        found = [f":param {name}: {TODO}" for name in parameters_of(function)]
        return [*found, f":returns: {TODO}"] if returns(function) else found


STYLE = Sphinx(
    "sphinx", ("python",), re.compile(r"(?m)^\s*:(?:param|type|returns?|rtype|raises?)\b[^:]*:")
)
