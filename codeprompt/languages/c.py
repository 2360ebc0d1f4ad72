"""C: Doxygen or plain comments right before functions."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="c",
    title="C",
    extensions=(".c", ".h"),
    grammars=("tree_sitter_c:language",),
    functions=("function_definition",),
    scopes=(),
    comments=("comment",),
    docs="before",
    # Most C projects document with plain comments; only Doxygen's would leave them out.
    doc_openings=("/*", "//"),
    line_comments=("///<", "//!<", "///", "//!", "//"),
    imports=("preproc_include",),
    tests=("test_*.c", "*_test.c", "*-test.c", "test-*.c"),
)
