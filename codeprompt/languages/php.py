"""PHP: PHPDoc before functions and methods."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="php",
    title="PHP",
    extensions=(".php", ".phtml"),
    grammars=("tree_sitter_php:language_php", "tree_sitter_php:language_php_only"),
    functions=("function_definition", "method_declaration"),
    scopes=("class_declaration", "interface_declaration", "trait_declaration", "enum_declaration"),
    comments=("comment",),
    docs="before",
    doc_openings=("/**",),
    line_comments=("//", "#"),
    imports=("namespace_use_declaration",),
    tests=("*Test.php", "*TestCase.php"),
    wrappers=(("class X {\n", "\n}"),),
    tag=b"<?",
)
