"""Code on one line without comments, as the pairs of CodeXGLUE code-to-code-trans are written."""

from __future__ import annotations

from codeprompt.languages.base import Language, find_language
from codeprompt.languages.functions.reading import parse, source_bytes

FREE = frozenset({"c", "c-sharp", "cpp", "java", "php"})
"""Languages to which a line break is a blank like any other."""


def one_line(text: str | bytes, language: str | Language) -> str:
    """Lines joined without their indentation, with a blank only where two words would meet.

    Text of a language that needs its lines stays as it is. Raises `DataError` for an unknown
    language or binary data.
    """
    language = find_language(language)
    data = source_bytes(text)
    if language.name not in FREE:
        return data.decode("utf-8", errors="replace")
    found = ""
    for line in _uncommented(data, language).decode("utf-8", errors="replace").splitlines():
        part = line.strip()
        meet = found and part and _is_word(found[-1]) and _is_word(part[0])
        found += f" {part}" if meet else part
    return found


def _is_word(sign: str) -> bool:
    return sign.isalnum() or sign in "_$"


def _uncommented(data: bytes, language: Language) -> bytes:
    """The text with a line break in place of every comment."""
    cursor = parse(data, language).walk()
    parts, kept = [], 0
    while True:
        node = cursor.node
        if node is None:
            break
        if node.type in language.comments:
            parts += [data[kept : node.start_byte], b"\n"]
            kept = node.end_byte
        elif cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return b"".join((*parts, data[kept:]))
    return b"".join((*parts, data[kept:]))
