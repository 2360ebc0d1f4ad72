"""Where a language binds local names, and which identifiers are none, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeprompt.bench.transforms.base import Source

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True)
class Binding:
    """binds: node type to the field that holds a bound name or pattern ("" for its children).

    other: (parent type, field) of identifiers that are no variables. stops: parent types of such,
    whatever the field. unsafe: names of calls that see local names as text.
    declarators: node types to go through on the way from a pattern to its names.
    """

    binds: Mapping[str, str]
    other: tuple[tuple[str, str], ...] = ()
    stops: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    through: tuple[str, ...] = ()


C = Binding(
    binds={
        "parameter_declaration": "declarator",
        "init_declarator": "declarator",
        "declaration": "declarator",
    },
    through=("pointer_declarator", "array_declarator", "init_declarator", "reference_declarator"),
    stops=("preproc_def", "preproc_function_def", "goto_statement", "labeled_statement"),
)
LANGUAGES: Mapping[str, Binding] = {
    "python": Binding(
        binds={
            "parameters": "",
            "typed_parameter": "",
            "default_parameter": "name",
            "typed_default_parameter": "name",
            "lambda_parameters": "",
            "assignment": "left",
            "augmented_assignment": "left",
            "for_statement": "left",
            "for_in_clause": "left",
            "as_pattern_target": "",
            "named_expression": "name",
        },
        through=(
            "pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern",
            "dictionary_splat_pattern", "typed_parameter",
        ),
        other=(("attribute", "attribute"), ("keyword_argument", "name")),
        stops=(
            "global_statement", "nonlocal_statement", "import_statement", "dotted_name",
            "import_from_statement", "aliased_import", "keyword_pattern",
        ),
        unsafe=("locals", "eval", "exec", "vars"),
    ),
    "java": Binding(
        binds={
            "formal_parameter": "name",
            "spread_parameter": "",
            "variable_declarator": "name",
            "enhanced_for_statement": "name",
            "catch_formal_parameter": "name",
            "resource": "name",
            "inferred_parameters": "",
        },
        through=("variable_declarator",),
        other=(
            ("method_invocation", "name"), ("field_access", "field"),
            ("element_value_pair", "key"), ("method_declaration", "name"),
            ("method_reference", ""),
        ),
        stops=("labeled_statement", "break_statement", "continue_statement", "scoped_identifier"),
    ),
    "c-sharp": Binding(
        binds={
            "parameter": "name",
            "variable_declarator": "name",
            "foreach_statement": "left",
            "catch_declaration": "name",
        },
        other=(
            ("member_access_expression", "name"), ("method_declaration", "name"),
            ("local_function_statement", "name"), ("parameter", "type"),
            ("variable_declaration", "type"), ("object_creation_expression", "type"),
            ("cast_expression", "type"), ("foreach_statement", "type"), ("argument", "name"),
            ("catch_declaration", "type"), ("array_type", "type"), ("nullable_type", "type"),
            ("method_declaration", "returns"), ("conditional_access_expression", ""),
        ),
        stops=(
            "generic_name", "qualified_name", "type_argument_list", "attribute", "name_colon",
            "member_binding_expression", "goto_statement", "labeled_statement", "type_parameter",
            "as_expression", "is_expression", "typeof_expression",
        ),
    ),
    "c": C,
    "cpp": C,
}  # fmt: skip


def bound(source: Source) -> list[str]:
    """Local names in the order of their first binding, without those that cannot be renamed."""
    binding = LANGUAGES.get(source.language.name)
    body = source.body()
    if binding is None or body is None:
        return []
    names: dict[str, None] = {}
    kept: set[str] = set()
    for node in source.walk():
        if node.type in binding.binds:
            field = binding.binds[node.type]
            held = node.children_by_field_name(field) if field else node.named_children
            for one in held:
                names |= dict.fromkeys(_text(name) for name in _leaves(one, binding))
        elif node.type == "identifier" and _text(node) in binding.unsafe:
            return []
    for node in source.walk():
        # A name that is also no variable somewhere (a keyword, a label) is left alone everywhere.
        if node.type == "identifier" and not is_variable(node, binding):
            parent = node.parent
            field = _field(node)
            if parent is not None and (parent.type, field) not in _HARMLESS:
                kept.add(_text(node))
        if node.type == "initializer_expression":  # `new A { x = 1 }` names a property
            kept |= {
                _text(left)
                for one in node.named_children
                if (left := one.child_by_field_name("left")) is not None
            }
    return [name for name in names if name not in kept and name not in _NEVER]


_HARMLESS = {
    ("attribute", "attribute"),
    ("field_access", "field"),
    ("method_invocation", "name"),
    ("member_access_expression", "name"),
    ("method_declaration", "name"),
}
"""Places where an equal name is another thing for sure: `a.name` beside a variable `name`."""
_NEVER = {"self", "cls", "this", "_", "var"}


def variables(source: Source) -> Iterator[Node]:
    """Every identifier that stands for a variable."""
    binding = LANGUAGES.get(source.language.name)
    if binding is not None:
        for node in source.walk():
            if node.type == "identifier" and is_variable(node, binding):
                yield node


def is_variable(node: Node, binding: Binding) -> bool:
    """Whether an identifier is a variable by where it stands."""
    parent = node.parent
    if parent is None or parent.type in binding.stops:
        return False
    return (parent.type, _field(node)) not in binding.other


def _field(node: Node) -> str:
    """The field of its parent that a node fills; "" for none."""
    parent = node.parent
    if parent is not None:
        for at in range(parent.child_count):
            if parent.child(at) == node:
                return parent.field_name_for_child(at) or ""
    return ""


def _leaves(node: Node, binding: Binding) -> Iterator[Node]:
    """The names of a pattern."""
    if node.type == "identifier":
        yield node
    elif node.type in binding.through:
        inner = node.child_by_field_name("declarator") or node.child_by_field_name("name")
        for one in [inner] if inner is not None else node.named_children:
            yield from _leaves(one, binding)


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", errors="replace")
