"""The functions of a file, in one walk over its tree: no recursion, nothing quadratic."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeprompt.languages.base import Language, find_language
from codeprompt.languages.functions.function import Function
from codeprompt.languages.functions.names import function_name, parameter_names, scope_name
from codeprompt.languages.functions.reading import parse, source_bytes

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

OUTER, SCOPE, FUNCTION, ANCHOR, COMMENT, SKIP = range(6)
# What error recovery in C and its kin may take for the name of a function.
KEYWORDS = frozenset({"if", "for", "while", "switch", "else", "return", "do", "catch", "sizeof"})
# Bytes looked at beside a function and scopes named around it: bounds that keep the pass linear.
FAR, DEEP = 400, 100


@dataclass(slots=True)
class _Open:
    """Something that encloses what follows: a wrapper, a scope or a function."""

    start: int
    end: int
    role: int
    node: Node
    names: tuple[str, ...] = ()


def functions(
    text: str | bytes, language: str | Language, tree: Tree | None = None
) -> list[Function]:
    """Every named function of `text`, nested ones too, in order of place.

    tree: of this very text, where whoever asks has parsed it already (an editor, by its edits).
    Functions that hold a syntax error are given with `has_error`; those beside it are whole.
    Raises `DataError` for an unknown language or binary data.
    """
    language = find_language(language)
    data = source_bytes(text)
    if not data.strip():
        return []
    return list(_walk(data, language, tree if tree is not None else parse(data, language)))


@functools.cache
def _roles(language: Language) -> dict[str, int]:
    """Node type to what it is to us."""
    kinds = {
        OUTER: language.outers,
        SCOPE: language.scopes,
        FUNCTION: language.functions,
        ANCHOR: tuple(kind for kind, _ in language.anchors),
        COMMENT: language.comments,
        SKIP: language.skips,
    }
    return {kind: role for role, listed in kinds.items() for kind in listed}


def _nodes(tree: Tree, roles: dict[str, int]) -> Iterator[tuple[int, Node]]:
    """The nodes that have a role, in order of place, wrappers first."""
    cursor = tree.walk()
    down, right, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    while True:
        node = cursor.node
        role = roles.get(node.type) if node is not None else None
        if role is not None and node is not None and node.is_named:
            yield role, node
        if down():
            continue
        while not right():
            if not up():
                return


def _walk(data: bytes, language: Language, tree: Tree) -> Iterator[Function]:
    value_field = dict(language.anchors)
    stack: list[_Open] = []
    before: list[tuple[int, int, bool]] = []
    anchored: set[int] = set()
    for role, node in _nodes(tree, _roles(language)):
        if role in (COMMENT, SKIP):
            before.append((node.end_byte, node.start_byte, role == COMMENT))
            continue
        start, end = node.start_byte, node.end_byte
        while stack and stack[-1].end <= start:
            stack.pop()
        opened, function = _Open(start, end, role, node), node
        if role == SCOPE:
            opened.names = scope_name(node)
        elif role == ANCHOR:
            value = node.child_by_field_name(value_field[node.type])
            if value is None or value.type not in language.assigned:
                continue
            anchored.add(value.id)
            function = value
            opened.names = function_name(value, node)
            opened.role = FUNCTION
        elif role == FUNCTION:
            opened.names = () if node.id in anchored else function_name(node, None)
        if opened.role == FUNCTION and opened.names and opened.names[-1] not in KEYWORDS:
            yield _function(data, language, opened, function, stack, before)
        stack.append(opened)


def _function(
    data: bytes,
    language: Language,
    opened: _Open,
    node: Node,
    stack: list[_Open],
    before: list[tuple[int, int, bool]],
) -> Function:
    start, end, outermost = opened.start, opened.end, opened.node
    for outer in reversed(stack):
        near = outer.end - end <= FAR
        if outer.role != OUTER or not near or data[end : outer.end].strip() not in (b"", b";"):
            break
        start, end, outermost = outer.start, outer.end, outer.node
    around = stack[-DEEP:]
    names = [name for scope in around for name in scope.names] + list(opened.names)
    owner = [name for scope in around if scope.role == SCOPE for name in scope.names]
    body = node.child_by_field_name("body")
    only_doc = False
    if language.docs == "inside":
        doc, only_doc = _docstring(body)
    else:
        doc = _comment_before(data, start, before, language)
    return Function(
        name=opened.names[-1],
        qualified_name=language.separator.join(names),
        owner=language.separator.join([*owner, *opened.names[:-1]]),
        language=language,
        start_line=outermost.start_point.row + 1,
        end_line=_last_line(data, outermost, end),
        start_byte=start,
        end_byte=end,
        doc_start=doc[0] if doc else start,
        doc_end=doc[1] if doc else start,
        body_start=body.start_byte if body else end,
        body_end=body.end_byte if body else end,
        parameters=parameter_names(node),
        has_error=node.has_error,
        source=data,
        only_doc=only_doc,
    )


def _last_line(data: bytes, node: Node, end: int) -> int:
    """1-based; a node that ends with a line break ends on the line before it."""
    point = node.end_point
    return point.row + (0 if point.column == 0 and data[end - 1 : end] == b"\n" else 1)


def _docstring(body: Node | None) -> tuple[tuple[int, int] | None, bool]:
    """The span of the string that opens a body, and whether nothing else is there."""
    statements = [n for n in body.named_children if n.type != "comment"] if body else []
    if not statements or statements[0].type != "expression_statement":
        return None, False
    inner = statements[0].named_child(0)
    if inner is None or inner.type not in ("string", "concatenated_string"):
        return None, False
    opening = (inner.text or b"")[:3].lower().split(b'"')[0].split(b"'")[0]
    if statements[0].named_child_count > 1 or b"f" in opening or b"b" in opening:
        return None, False
    return (inner.start_byte, inner.end_byte), len(statements) == 1


def _comment_before(
    data: bytes, start: int, before: list[tuple[int, int, bool]], language: Language
) -> tuple[int, int] | None:
    """The span of the documentation that ends right before `start`.

    A block may stand one blank line away if it is marked as documentation (`/**`). Comments of
    one line belong together as long as no blank line parts them. A comment that ends a line of
    code documents that code, not what follows.
    """
    span: tuple[int, int] | None = None
    for end, begin, is_comment in reversed(before):
        if end > start:
            continue
        nearest = span[0] if span else start
        if nearest - end > FAR:
            break
        gap = data[end:nearest]
        text = data[begin:end].decode("utf-8", errors="replace")
        line = gap.count(b"\n") + text.endswith("\n")
        if gap.strip() or line > (2 if text.startswith("/**") and not span else 1):
            break
        if not is_comment:
            start = begin
            continue
        ahead = data[max(0, begin - FAR) : begin].rpartition(b"\n")[2]
        if line and ahead.strip(b" \t\xef\xbb\xbf"):
            break
        is_block = text.startswith(("/*", "=begin"))
        if not text.startswith(language.doc_openings):
            if span:
                break
            start = begin
            continue
        if span and is_block:
            break
        span = (begin, span[1] if span else begin + len(data[begin:end].rstrip()))
        if is_block:
            break
    return span
