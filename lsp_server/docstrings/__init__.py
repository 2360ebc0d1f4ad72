"""Documentation in the file's own style: Google, NumPy, Sphinx, Javadoc, XML doc, JSDoc, Doxygen,
GoDoc, RDoc, PHPDoc; inserted or replaced by one edit."""

from __future__ import annotations

from lsp_server.docstrings.edit import Replacement, documentation_edit
from lsp_server.docstrings.habits import NAMES, choose

__all__ = ["NAMES", "Replacement", "choose", "documentation_edit"]
