"""Python: docstrings inside the body."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="python",
    title="Python",
    aliases=("py", "python3"),
    extensions=(".py", ".pyi", ".pyw"),
    grammars=("tree_sitter_python:language",),
    functions=("function_definition",),
    scopes=("class_definition",),
    comments=("comment",),
    docs="inside",
    doc_openings=(),
    line_comments=("#",),
    imports=("import_statement", "import_from_statement"),
    tests=("test_*.py", "*_test.py", "conftest.py", "tests.py"),
)
