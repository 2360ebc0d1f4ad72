"""Go: comments right before functions and methods."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="go",
    title="Go",
    aliases=("golang",),
    extensions=(".go",),
    grammars=("tree_sitter_go:language",),
    functions=("function_declaration", "method_declaration"),
    scopes=(),
    comments=("comment",),
    docs="before",
    doc_openings=("//", "/*"),
    line_comments=("//",),
    imports=("import_spec",),
    tests=("*_test.go",),
)
