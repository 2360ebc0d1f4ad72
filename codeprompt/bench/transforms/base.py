"""What a transformation is: new source for old, the same meaning, checked by a parser.

Rows whose code stands as joined tokens are changed in their source (`raw_code`), which is then cut
into tokens again; a row whose tokens do not come out of its source to begin with stays as it is, so
that nothing but the transformation differs. A result that no longer parses is thrown away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codeprompt.data.split import hash_order
from codeprompt.errors import DataError
from codeprompt.languages import find_language, is_language
from codeprompt.languages.base import Language
from codeprompt.languages.functions import parses, tokens
from codeprompt.languages.functions.reading import parse
from codeprompt.types import Example

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True)
class Source:
    """One function: its bytes, its language, the root of its syntax tree, random numbers."""

    data: bytes
    language: Language
    root: Node
    random: random.Random

    def walk(self, node: Node | None = None) -> Iterator[Node]:
        """Every node below, in order of place."""
        cursor = (node or self.root).walk()
        while True:
            if cursor.node is not None:
                yield cursor.node
            if cursor.goto_first_child():
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return

    def body(self) -> Node | None:
        """The block of the first function."""
        for node in self.walk():
            if node.type in self.language.functions:
                return node.child_by_field_name("body")
        return None

    def edited(self, edits: list[tuple[int, int, bytes]]) -> bytes:
        """The text with (start, end, new) applied; places are of the old text."""
        out = self.data
        for start, end, new in sorted(edits, reverse=True):
            out = out[:start] + new + out[end:]
        return out


@dataclass(frozen=True)
class Transform:
    """change: the new bytes of a function, or None where it does not apply.

    whitespace: whether it changes nothing but white space, which joined tokens do not show.
    """

    change: Callable[[Source], bytes | None]
    whitespace: bool = False

    def applied(self, row: Example, seed: int) -> Example:
        """The row with its code changed, or the row itself."""
        name = row.fields.get("language", "")
        if not is_language(name):
            return row
        language, code = find_language(name), row.fields["code"]
        raw = row.fields.get("raw_code", code)
        joined = raw != code
        if joined and (self.whitespace or " ".join(tokens(raw, language)) != code):
            return row
        new = self.changed(raw, language, seed, row.id)
        if new is None:
            return row
        fields = {**row.fields, "code": " ".join(tokens(new, language)) if joined else new}
        if "raw_code" in row.fields:
            fields["raw_code"] = new
        return replace(row, fields=fields)

    def changed(self, text: str, language: Language, seed: int = 0, key: str = "") -> str | None:
        """The new text; None where the change does not apply or would not parse."""
        data = text.encode("utf-8", errors="replace")
        if b"\0" in data or not data.strip():
            return None
        draws = random.Random(hash_order(seed, key))
        before = _root(data, language)
        if before is None:
            return None
        root, shift = before
        new = self.change(Source(shift[0] + data + shift[1], language, root, draws))
        if new is None:
            return None
        inner = new[len(shift[0]) : len(new) - len(shift[1])]
        if inner == data:
            return None
        text = inner.decode("utf-8", errors="replace")
        return text if parses(text, language) else None


def _root(data: bytes, language: Language) -> tuple[Node, tuple[bytes, bytes]] | None:
    """The tree of a function that parses, and what was put around it; None for one that does not.

    Devign's functions, which lack their macros, often do not: those stay as they are.
    """
    for before, after in (("", ""), *language.wrappers):
        around = before.encode(), after.encode()
        try:
            root = parse(around[0] + data + around[1], language).root_node
        except DataError:
            return None
        if not root.has_error:
            return root, around
    return None
