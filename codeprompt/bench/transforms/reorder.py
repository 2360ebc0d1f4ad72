"""Two neighbouring assignments that do not depend on each other change places.

Both must set plain local names and call nothing; neither may read or set what the other sets. Which
of two failing expressions fails first may change, no other meaning. In C a name whose address is
taken somewhere is left alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from codeprompt.bench.transforms.base import Source, Transform

if TYPE_CHECKING:
    from tree_sitter import Node

SIMPLE = {
    "python": ("expression_statement",),
    "java": ("local_variable_declaration", "expression_statement"),
    "c-sharp": ("local_declaration_statement", "expression_statement"),
    "c": ("declaration", "expression_statement"),
    "cpp": ("declaration", "expression_statement"),
}
ASSIGNS = ("assignment", "assignment_expression")
DECLARES = {"init_declarator": "declarator", "variable_declarator": "name"}
EFFECTS = (
    "call", "call_expression", "method_invocation", "invocation_expression", "await",
    "object_creation_expression", "yield", "update_expression", "augmented_assignment",
    "named_expression", "lambda", "lambda_expression", "await_expression", "conditional_expression",
    "postfix_unary_expression", "prefix_unary_expression", "array_declarator", "ERROR",
)  # fmt: skip


def change(source: Source) -> bytes | None:
    """Swap one pair, drawn at random among all blocks."""
    kinds = SIMPLE.get(source.language.name, ())
    addressed = {
        (node.named_child(0).text if node.named_child(0) is not None else b"")
        for node in source.walk()
        if node.type == "pointer_expression" and (node.text or b"").startswith(b"&")
    }
    pairs = []
    for block in source.walk():
        statements = block.named_children
        for one, two in pairwise(statements):
            if one.type in kinds and two.type in kinds and _free(one, two, source, addressed):
                pairs.append((one, two))
    if not pairs:
        return None
    one, two = source.random.choice(pairs)
    return source.edited(
        [(one.start_byte, one.end_byte, two.text or b""),
         (two.start_byte, two.end_byte, one.text or b"")]
    )  # fmt: skip


def _free(one: Node, two: Node, source: Source, addressed: set[bytes | None]) -> bool:
    sets_one, sets_two = _sets(one, source), _sets(two, source)
    if not sets_one or not sets_two or (sets_one | sets_two) & addressed:
        return False
    between = source.data[one.end_byte : two.start_byte]
    return (
        not between.strip(b" \t\r\n;")
        and not sets_one & _names(two, source)
        and not sets_two & _names(one, source)
    )


def _sets(statement: Node, source: Source) -> set[bytes]:
    """The names a statement sets; empty where it does anything else."""
    found: set[bytes] = set()
    for node in source.walk(statement):
        if node.type in EFFECTS:
            return set()
        field = "left" if node.type in ASSIGNS else DECLARES.get(node.type)
        if field is None:
            continue
        target = node.child_by_field_name(field)
        if target is None or target.type != "identifier" or not _plain(node):
            return set()
        found.add(target.text or b"")
    return found


def _plain(node: Node) -> bool:
    """`a = 1`, not `a += 1`."""
    sign = node.child_by_field_name("operator")
    return sign is None or sign.text == b"="


def _names(statement: Node, source: Source) -> set[bytes]:
    return {n.text or b"" for n in source.walk(statement) if n.type == "identifier"}


TRANSFORM = Transform(change)
