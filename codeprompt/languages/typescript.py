"""TypeScript and TSX: TSDoc before functions, methods and functions given a name."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="typescript",
    title="TypeScript",
    aliases=("ts", "tsx"),
    extensions=(".ts", ".tsx", ".mts", ".cts"),
    grammars=("tree_sitter_typescript:language_typescript", "tree_sitter_typescript:language_tsx"),
    functions=(
        "function_declaration",
        "generator_function_declaration",
        "method_definition",
        "function_expression",
    ),
    scopes=("class_declaration", "abstract_class_declaration", "internal_module", "module"),
    comments=("comment",),
    skips=("decorator",),
    outers=(
        "export_statement",
        "lexical_declaration",
        "variable_declaration",
        "expression_statement",
    ),
    assigned=("arrow_function", "function_expression", "generator_function"),
    anchors=(
        ("variable_declarator", "value"),
        ("assignment_expression", "right"),
        ("pair", "value"),
        ("public_field_definition", "value"),
    ),
    docs="before",
    doc_openings=("/**",),
    line_comments=("//",),
    imports=("import_statement",),
    tests=("*.test.*", "*.spec.*", "*-test.ts", "*_test.ts"),
    wrappers=(("class X {\n", "\n}"),),
)
