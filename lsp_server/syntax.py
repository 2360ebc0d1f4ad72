"""The syntax trees of one document, kept up to date by its edits, and the functions found in them.

A language may have several grammars (TypeScript with and without JSX): each that was needed keeps
a tree, and the first without an error counts, as in `codeprompt.languages`. A tree with an error is
parsed anew, since recovery depends on the way an edit came about; large files keep what they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeprompt.errors import DataError
from codeprompt.languages import Language
from codeprompt.languages.base import grammar
from codeprompt.languages.functions import Function, functions, imports

if TYPE_CHECKING:
    from tree_sitter import Point, Tree

ANEW = 200_000
"""Bytes up to which a text with an error is parsed from its start."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of bytes: `[start, old_end)` became `[start, new_end)`; points are rows, columns."""

    start: int
    old_end: int
    new_end: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]


def point(data: bytes, offset: int) -> tuple[int, int]:
    """Row and column as tree-sitter counts them: rows end with `\\n`, columns are bytes."""
    return data.count(b"\n", 0, offset), offset - (data.rfind(b"\n", 0, offset) + 1)


class Syntax:
    """Trees by grammar, for the language of one document; none is kept before its first edit."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._trees: dict[str, Tree] = {}
        self._current: set[str] = set()
        self._edits = False

    def edited(self, edit: Edit) -> None:
        """Tell the trees what changed; they are parsed when functions are asked for."""
        from tree_sitter import Point

        def placed(place: tuple[int, int]) -> Point:
            return Point(*place)

        for tree in self._trees.values():
            tree.edit(
                edit.start,
                edit.old_end,
                edit.new_end,
                placed(edit.start_point),
                placed(edit.old_end_point),
                placed(edit.new_end_point),
            )
        self._current.clear()
        self._edits = True

    def replaced(self) -> None:
        """Forget the trees: the whole text is another."""
        self._trees.clear()
        self._current.clear()

    def functions(self, data: bytes) -> list[Function]:
        """The functions of the text as it is now; none where it is binary."""
        if b"\0" in data or not data.strip():
            return []
        try:
            return functions(data, self.language, self._tree(data))
        except DataError:
            return []

    def imports(self, data: bytes) -> str:
        """What the text imports, as packs were tuned: names with commas between."""
        if b"\0" in data or not data.strip():
            return ""
        return ", ".join(imports(self._tree(data), self.language))

    def _tree(self, data: bytes) -> Tree:
        readable = _readable(data)
        readers = self.language.readers(data)
        first = self._parsed(readers[0], readable)
        if not first.root_node.has_error:
            return first
        for reader in readers[1:]:
            other = self._parsed(reader, readable)
            if not other.root_node.has_error:
                return other
        return first

    def _parsed(self, reader: str, data: bytes) -> Tree:
        from tree_sitter import Parser

        known = self._trees.get(reader)
        if known is not None and reader in self._current:
            return known
        parser = Parser(grammar(reader))
        tree = parser.parse(data, known) if known is not None else parser.parse(data)
        if known is not None and tree.root_node.has_error and len(data) <= ANEW:
            tree = parser.parse(data)
        if self._edits:
            self._trees[reader] = tree
            self._current.add(reader)
        return tree


def _readable(data: bytes) -> bytes:
    """What the parser takes: one `?` for each byte that is no UTF-8, so that offsets stay."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", errors="codeprompt-bytewise").encode("utf-8")
    return data
