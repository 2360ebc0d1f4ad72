"""Java: Javadoc before methods and constructors."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="java",
    title="Java",
    extensions=(".java",),
    grammars=("tree_sitter_java:language",),
    functions=("method_declaration", "constructor_declaration", "compact_constructor_declaration"),
    scopes=(
        "class_declaration",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "annotation_type_declaration",
    ),
    comments=("block_comment", "line_comment"),
    docs="before",
    doc_openings=("/**",),
    line_comments=("//",),
    imports=("import_declaration",),
    tests=("*Test.java", "*Tests.java", "Test*.java", "*IT.java", "*TestCase.java"),
    wrappers=(("class X {\n", "\n}"), ("class X { void f() {\n", "\n} }")),
)
