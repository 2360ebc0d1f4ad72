"""Code as the sequence of its tokens, as CodeSearchNet writes it.

The leaves of the syntax tree in order, strings and comments whole (Husain et al. 2019,
`function_parser`): what the `code_tokens` of CodeXGLUE code-to-text hold. A text with a syntax
error still gives all its leaves.
"""

from __future__ import annotations

from codeprompt.languages.base import Language, find_language
from codeprompt.languages.functions.reading import parse, source_bytes

WHOLE = ("string", "string_literal", "char_literal", "character_literal", "template_string")


def tokens(text: str | bytes, language: str | Language) -> list[str]:
    """The tokens of `text`; raises `DataError` for an unknown language or binary data."""
    language = find_language(language)
    data = source_bytes(text)
    if not data.strip():
        return []
    cursor = parse(data, language).walk()
    found: list[str] = []
    while True:
        node = cursor.node
        if node is None:
            return found
        is_whole = node.type in WHOLE or node.type.endswith("comment")
        if not is_whole and cursor.goto_first_child():
            continue
        token = data[node.start_byte : node.end_byte].decode("utf-8", errors="replace")
        if token.strip():
            found.append(token)
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return found
