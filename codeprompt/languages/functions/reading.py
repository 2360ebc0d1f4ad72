"""From text or bytes to a syntax tree: byte-order marks, bad UTF-8, bare methods."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from codeprompt.errors import DataError
from codeprompt.languages.base import Language, find_language, grammar

if TYPE_CHECKING:
    from tree_sitter import Tree


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    """One `?` for each undecodable byte, so that offsets stay those of the file."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "?" * (error.end - error.start), error.end


codecs.register_error("codeprompt-bytewise", _question_marks)


def source_bytes(text: str | bytes) -> bytes:
    """The UTF-8 bytes of `text`; all offsets count in them. Raises `DataError` for binary data."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogatepass")
    if b"\0" in data:
        raise DataError(
            f"The text is binary: it has a NUL byte at offset {data.index(0)}",
            expected="source code as UTF-8",
            do="Leave this file out, or convert it (UTF-16 files hold NUL bytes too)",
        )
    return data


def parse(data: bytes, language: Language) -> Tree:
    """The tree of `data` by the first grammar that reads it without error, else by the first."""
    from tree_sitter import Parser

    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = data.decode("utf-8", errors="codeprompt-bytewise").encode("utf-8")
    readers = language.readers(data)
    trees = (Parser(grammar(reader)).parse(data) for reader in readers)
    first = next(trees)
    if not first.root_node.has_error:
        return first
    return next((other for other in trees if not other.root_node.has_error), first)


def parses(text: str | bytes, language: str | Language) -> bool:
    """Whether `text` is a program, or a bare method, without a syntax error.

    Blank text is no program. A bare method, which some languages allow only in a class, is put
    in one, and counts only if the bracket we opened is closed by ours. Binary data does not parse.
    """
    language = find_language(language)
    try:
        data = source_bytes(text)
    except DataError:
        return False
    if not data.strip():
        return False
    if not parse(data, language).root_node.has_error:
        return True
    if language.tag and language.tag in data:
        return False
    for before, after in language.wrappers:
        root = parse(before.encode() + data + after.encode(), language).root_node
        opening = before.rindex("{")
        leaf = root.descendant_for_byte_range(opening, opening + 1)
        body = leaf.parent if leaf is not None else None
        closing = len(before) + len(data) + after.index("}") + 1
        if not root.has_error and body is not None and body.end_byte == closing:
            return True
    return False
