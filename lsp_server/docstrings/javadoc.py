"""Javadoc: `/** */` above the declaration, `@param` and `@return`."""

from __future__ import annotations

import re

from lsp_server.docstrings.base import BlockStyle, Habit

STYLE = BlockStyle("javadoc", ("java",), re.compile(r"^\s*/\*\*"), Habit(one_line=False))
