"""Where each language's values go, as data: node types and the fields of what they hold.

A key is a field's name, or the place among the node's named children. Java, C#, Python, Ruby, Go,
PHP and JavaScript follow the official script's tables, with what those lack marked `ours`; C and
C++ are not in it and follow Java's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = str | int
Pair = tuple[Key, Key]  # target, value


@dataclass(frozen=True, slots=True)
class Flow:
    """What moves values in one language.

    define: declarations; their target comes from the value.
    assign: assignments; their target is computed from the value.
    update: node types of `x++`; every name in them is computed from all of them.
    branch: statements of which one part runs: the alternatives are fields of that name, or children
        whose type is in `others`.
    loop: statements whose parts run again; `once` are the fields that do not.
    each: loops over values: target, value, body.
    unpacks: node types of lists, whose members pair off when both sides have as many.
    names: leaves that hold a value from their first use on.
    first: children that are evaluated before their elder siblings.
    """

    define: Mapping[str, Pair] = field(default_factory=dict)
    assign: Mapping[str, Pair] = field(default_factory=dict)
    update: frozenset[str] = frozenset()
    branch: frozenset[str] = frozenset()
    loop: frozenset[str] = frozenset()
    each: Mapping[str, tuple[Key, Key, Key]] = field(default_factory=dict)
    unpacks: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset({"identifier"})
    first: frozenset[str] = frozenset()


others = frozenset({"else_clause", "elif_clause", "else_if_clause", "else", "elsif", "when"})
partial = frozenset({"elif_clause", "else_if_clause", "when"})  # after which nothing may run
once = frozenset({"init", "initializer", "initialize"})
inline = frozenset({"for_clause"})  # whose children stand for themselves

_sides: Pair = ("left", "right")
_valued: Pair = ("name", "value")

_c = Flow(
    define={"init_declarator": ("declarator", "value")},
    assign={"assignment_expression": _sides},
    update=frozenset({"update_expression"}),
    branch=frozenset({"if_statement"}),
    loop=frozenset({"for_statement", "while_statement", "do_statement"}),
)

FLOWS: dict[str, Flow] = {
    "java": Flow(
        define={"variable_declarator": _valued},
        assign={"assignment_expression": _sides},
        update=frozenset({"update_expression"}),
        branch=frozenset({"if_statement"}),
        loop=frozenset({"for_statement", "while_statement"}),
        each={"enhanced_for_statement": ("name", "value", "body")},
    ),
    "c-sharp": Flow(
        define={"variable_declarator": ("name", -1)},
        assign={"assignment_expression": _sides},
        update=frozenset({"postfix_unary_expression"}),
        branch=frozenset({"if_statement"}),
        loop=frozenset({"for_statement", "while_statement"}),
        each={"foreach_statement": ("left", "right", "body")},
    ),
    "python": Flow(
        define={"default_parameter": _valued, "typed_default_parameter": _valued},  # second: ours
        assign={
            "assignment": _sides,
            "augmented_assignment": _sides,
            "for_in_clause": _sides,
            "named_expression": _valued,  # ours
        },
        branch=frozenset({"if_statement"}),
        loop=frozenset({"while_statement"}),
        each={"for_statement": ("left", "right", "body")},
        unpacks=frozenset({"pattern_list", "expression_list", "tuple", "tuple_pattern"}),
        first=frozenset({"for_in_clause"}),
    ),
    "c": _c,
    "cpp": Flow(
        define=_c.define,
        assign=_c.assign,
        update=_c.update,
        branch=_c.branch,
        loop=_c.loop,
        each={"for_range_loop": ("declarator", "right", "body")},
    ),
    "javascript": Flow(
        define={"variable_declarator": _valued},
        assign={
            "assignment_pattern": _sides,
            "augmented_assignment_expression": _sides,
            "assignment_expression": _sides,  # ours
        },
        update=frozenset({"update_expression"}),
        branch=frozenset({"if_statement"}),
        loop=frozenset({"for_statement", "while_statement"}),
        each={"for_in_statement": ("left", "right", "body")},  # ours
    ),
    "go": Flow(
        define={"var_spec": _valued},
        assign={
            "assignment_statement": _sides,
            "short_var_declaration": _sides,  # ours
            "range_clause": _sides,  # ours
        },
        update=frozenset({"inc_statement", "dec_statement"}),  # second: ours
        branch=frozenset({"if_statement"}),
        loop=frozenset({"for_statement"}),
        unpacks=frozenset({"expression_list"}),
    ),
    "php": Flow(
        define={"simple_parameter": ("name", "default_value")},
        assign={
            "assignment_expression": _sides,
            "augmented_assignment_expression": _sides,
        },
        update=frozenset({"update_expression"}),
        branch=frozenset({"if_statement"}),
        loop=frozenset({"for_statement", "while_statement"}),
        each={"foreach_statement": (1, 0, "body")},
        names=frozenset({"name"}),
    ),
    "ruby": Flow(
        define={"keyword_parameter": _valued, "optional_parameter": _valued},  # second: ours
        assign={"assignment": _sides, "operator_assignment": _sides},
        branch=frozenset({"if", "elsif", "unless", "case"}),
        loop=frozenset({"while", "until", "while_modifier", "until_modifier"}),  # some: ours
        each={"for": ("pattern", "value", "body")},
        unpacks=frozenset({"left_assignment_list", "right_assignment_list"}),
    ),
}
