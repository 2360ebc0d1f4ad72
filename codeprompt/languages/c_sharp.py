"""C#: XML documentation before methods, constructors and operators."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="c-sharp",
    title="C#",
    aliases=("cs", "csharp", "c#"),
    extensions=(".cs",),
    grammars=("tree_sitter_c_sharp:language",),
    functions=(
        "method_declaration",
        "constructor_declaration",
        "destructor_declaration",
        "operator_declaration",
        "conversion_operator_declaration",
        "local_function_statement",
    ),
    scopes=(
        "class_declaration",
        "struct_declaration",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "namespace_declaration",
    ),
    comments=("comment",),
    docs="before",
    doc_openings=("///", "/**"),
    line_comments=("///", "//"),
    imports=("using_directive",),
    tests=("*Test.cs", "*Tests.cs", "*Fixture.cs", "Test*.cs"),
    wrappers=(("class X {\n", "\n}"), ("class X { void f() {\n", "\n} }")),
)
