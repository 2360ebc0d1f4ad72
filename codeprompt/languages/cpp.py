"""C++: Doxygen or plain comments right before functions, templates and methods."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="cpp",
    title="C++",
    aliases=("c++", "cxx"),
    extensions=(".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".ipp", ".cu", ".cuh"),
    grammars=("tree_sitter_cpp:language",),
    functions=("function_definition",),
    scopes=("class_specifier", "struct_specifier", "union_specifier", "namespace_definition"),
    comments=("comment",),
    outers=("template_declaration",),
    docs="before",
    doc_openings=("/*", "//"),
    line_comments=("///<", "//!<", "///", "//!", "//"),
    imports=("preproc_include",),
    tests=("test_*.c*", "*_test.c*", "*_unittest.c*", "*Test.cpp", "*Tests.cpp"),
    wrappers=(("class X {\n", "\n};"),),
    separator="::",
)
