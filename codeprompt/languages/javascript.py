"""JavaScript and JSX: JSDoc before functions, methods and functions given a name."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="javascript",
    title="JavaScript",
    aliases=("js", "jsx", "node"),
    extensions=(".js", ".jsx", ".mjs", ".cjs"),
    grammars=("tree_sitter_javascript:language",),
    functions=(
        "function_declaration",
        "generator_function_declaration",
        "method_definition",
        "function_expression",
    ),
    scopes=("class_declaration",),
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
        ("field_definition", "value"),
    ),
    docs="before",
    doc_openings=("/**",),
    line_comments=("//",),
    imports=("import_statement",),
    tests=("*.test.*", "*.spec.*", "*-test.js", "*_test.js", "test.js"),
    wrappers=(("class X {\n", "\n}"),),
)
