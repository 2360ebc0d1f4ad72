"""Syntax match: which of the reference's subtrees the prediction has too.

A subtree is any inner node with all that hangs below, written as tree-sitter's s-expression: node
types and field names, without names, literals, operators or comments. Each subtree of the reference
counts as often as it occurs, and matches if the prediction has it once (the official script does
not clip). Equal subtrees get equal numbers, so nothing is compared as text: the script's lists of
s-expressions are quadratic in the length of the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codeprompt.languages.base import Language

if TYPE_CHECKING:
    from tree_sitter import Tree, TreeCursor


class Shapes:
    """Numbers for tree shapes: two nodes have one number where their s-expressions are equal."""

    def __init__(self, language: Language) -> None:
        self.comments = frozenset(language.comments)
        self.numbers: dict[object, int] = {}

    def subtrees(self, tree: Tree) -> list[int]:
        """The number of every inner node, and of the root, in no particular order."""
        cursor = tree.walk()
        found: list[int] = []
        stack: list[_Open] = [_Open(cursor)]
        descending = True
        while stack:
            if descending and cursor.goto_first_child():
                stack.append(_Open(cursor))
                continue
            closed = stack.pop()
            number = self.numbers.setdefault(closed.shape(), len(self.numbers))
            skipped = closed.type in self.comments
            if not skipped and (closed.inner or not stack):
                found.append(number)
            if not stack:
                break
            if closed.seen and not skipped:
                stack[-1].below.append((closed.field, number))
            descending = cursor.goto_next_sibling()
            if descending:
                stack.append(_Open(cursor))
            else:
                cursor.goto_parent()
        return found


class _Open:
    """A node whose children are being read."""

    __slots__ = ("below", "field", "inner", "seen", "type")

    def __init__(self, cursor: TreeCursor) -> None:
        node = cursor.node
        assert node is not None
        self.type, self.field = node.type, cursor.field_name
        self.inner = node.child_count > 0
        self.seen = node.is_named or node.is_missing
        self.below: list[tuple[str | None, int]] = []
        if node.is_missing:
            self.type = f"MISSING {self.type}"
        elif node.is_error and not self.inner:
            self.type = str(node)  # the characters that fit nowhere

    def shape(self) -> object:
        return self.type, tuple(self.below)


def match(shapes: Shapes, prediction: Tree, references: list[Tree]) -> tuple[int, int]:
    """How many subtrees of the references the prediction has, and how many there are."""
    there = set(shapes.subtrees(prediction))
    wanted = [number for reference in references for number in shapes.subtrees(reference)]
    return sum(number in there for number in wanted), len(wanted)
