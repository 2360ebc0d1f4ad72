"""Names in a syntax tree: of functions, of scopes, of parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

# Parts of an assigned name that say nothing: `module.exports.run = ...`, `A.prototype.run = ...`.
SILENT = frozenset({"module", "exports", "prototype", "this", "self", "window"})


def text(node: Node | None) -> str:
    """A node's text; "" for none."""
    return (node.text or b"").decode("utf-8", errors="replace") if node else ""


def function_name(node: Node, anchor: Node | None) -> tuple[str, ...]:
    """A function's own name, after the qualifiers it is written with; () for an unnamed one."""
    if anchor is not None:
        for name in ("name", "key", "property", "left"):
            named = anchor.child_by_field_name(name)
            if named is not None:
                return _assigned(named) or _assigned(node.child_by_field_name("name"))
        return ()
    named = node.child_by_field_name("name")
    if named is None:
        named = _declared(node)
        if named is None:
            return _operator(node)
        return _qualified(text(named))
    receiver = node.child_by_field_name("receiver")
    if receiver is not None:
        kind = re.search(r"(\w+)\s*(?:\[[^()]*\])?\s*,?\s*\)$", text(receiver))
        return (kind[1], text(named)) if kind else (text(named),)
    prefix = "~" if node.type == "destructor_declaration" else ""
    return (prefix + text(named),) if text(named) else ()


def _assigned(named: Node | None) -> tuple[str, ...]:
    """The name that an assignment, a declarator or a pair gives."""
    written = text(named).strip("'\"")
    if not written or not re.fullmatch(r"[\w$#.\- ]+", written):
        return ()
    parts = written.split(".")
    return (*(part for part in parts[:-1] if part not in SILENT), parts[-1])


def _declared(node: Node) -> Node | None:
    """Down the declarators of C and C++ to the name."""
    found = node.child_by_field_name("declarator")
    while found is not None:
        below = found.child_by_field_name("declarator")
        if below is None and found.type.endswith(("_declarator", "_declarator_list")):
            below = found.named_child(0) if found.named_child_count else None
        if below is None:
            is_name = not found.type.endswith("_declarator")
            return found if is_name else None
        found = below
    return None


def _operator(node: Node) -> tuple[str, ...]:
    """`operator +` of C#."""
    sign = node.child_by_field_name("operator") or node.child_by_field_name("type")
    return ("operator " + text(sign),) if "operator" in node.type else ()


def _qualified(written: str) -> tuple[str, ...]:
    """`n::X<T>::g` as ("n", "X", "g")."""
    parts: list[str] = []
    depth = last = 0
    at = 0
    while at < len(written):
        if written.startswith("operator", at) and depth == 0:
            break
        sign = written[at]
        depth += (sign == "<") - (sign == ">")
        if depth == 0 and written.startswith("::", at):
            parts.append(written[last:at])
            at += 2
            last = at
            continue
        at += 1
    parts.append(written[last:])
    bare = [part if "operator" in part else part.partition("<")[0].strip() for part in parts]
    return tuple(" ".join(part.split()) for part in bare if part.strip())


def scope_name(node: Node) -> tuple[str, ...]:
    """A scope's name, () for an anonymous one."""
    written = text(node.child_by_field_name("name"))
    return _qualified(written.strip("'\"")) if written else ()


def parameter_names(node: Node) -> tuple[str, ...]:
    """The names of a function's parameters, in order; a destructured one as it is written."""
    listed = node.child_by_field_name("parameters")
    if listed is None:
        single = node.child_by_field_name("parameter")
        if single is not None:
            return (text(single),)
        declarator = node.child_by_field_name("declarator")
        while declarator is not None and listed is None:
            listed = declarator.child_by_field_name("parameters")
            declarator = declarator.child_by_field_name("declarator")
    if listed is None:
        return ()
    found: list[str] = []
    for child in listed.named_children:
        if child.type not in ("comment", "block_comment", "line_comment"):
            found += _parameter(child)
    return tuple(name for name in found if name)


def _parameter(node: Node) -> list[str]:
    if node.type in ("positional_separator", "keyword_separator", "attribute_list", "modifier"):
        return []
    if node.type in ("array_type", "predefined_type", "type_identifier", "nullable_type"):
        return []  # C#'s `params T[] x` lies flat in the list
    several = node.children_by_field_name("name")
    if several:
        return [text(name) for name in several]
    for field in ("pattern", "left", "declarator"):
        named = node.child_by_field_name(field)
        if named is not None:
            return _parameter(named) if field != "pattern" else [text(named)]
    if node.named_child_count and not node.type.endswith(("identifier", "object_pattern")):
        if node.type in ("array_pattern", "tuple_pattern", "destructured_parameter"):
            return [text(node)]
        if node.type in ("parameter_declaration", "variadic_parameter"):
            return []  # a type alone: `void`, `...`
        if node.type == "spread_parameter":
            return _parameter(node.named_children[-1])
        return _parameter(node.named_children[0])
    return [text(node)] if re.match(r"[\w$@{]", text(node)) else []
