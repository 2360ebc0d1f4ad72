"""Data-flow match: which of the reference's value flows the prediction has too.

After GraphCodeBERT (Guo et al. 2021) and the official script: every name or literal that takes its
value from others is an edge (name, how, from which names); names are then numbered in order of
first use, so that renaming costs nothing; edges match as a multiset. Differences, all measured in
`docs/codebleu.md`:

- where several names flow into one, they are in source order (the script's order is that of a
  Python set of strings: its score changes from process to process);
- both branches of an `if ... else` start from the state after the condition, and nothing else flows
  past them (the script lets the values from before the `if` through too);
- `a.b = c.d` is one assignment (the script pairs `a` with `c` and `b` with `d` in Python and Ruby);
- loops within loops are read twice each down to `TWICE` levels, once below: the script doubles its
  time with each level. Nothing recurses, so that deep code neither stops nor loses its flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from itertools import chain
from typing import TYPE_CHECKING

from codeprompt.languages.base import Language
from codeprompt.metrics.codebleu_parts.flows import FLOWS, Key, inline, once, others, partial

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

Edge = tuple[int, str, tuple[int, ...]]  # a name's number, how, the numbers it comes from
States = dict[str, tuple[int, ...]]  # name to where its present value may have been set
Visit = Generator["Visit", States, States]  # gives visits to make first, gets their states

STRINGS = frozenset({"string_literal", "string", "character_literal", "char_literal"})
TWICE = 6
DEFINED, COMPUTED = "comesFrom", "computedFrom"


class Reader:
    """Reads the flows of trees in one language."""

    def __init__(self, language: Language) -> None:
        self.flow = FLOWS[language.name]
        self.comments = frozenset(language.comments)

    def edges(self, tree: Tree) -> list[Edge]:
        """The flows of a program, names as numbers, in source order."""
        self.names: dict[int, str] = {}
        self.how: dict[int, str] = {}
        self.sources: dict[int, dict[int, None]] = {}
        self.depth = 0
        _run(self._node(tree.root_node, {}))
        return self._numbered()

    def _numbered(self) -> list[Edge]:
        used = {place for places in self.sources.values() for place in places}
        numbers: dict[str, int] = {}
        found: list[Edge] = []
        for place in sorted(self.names):
            sources = self.sources[place]
            if not sources and place not in used:
                continue
            parents = dict.fromkeys(self.names[source] for source in sorted(sources))
            for name in (*parents, self.names[place]):
                numbers.setdefault(name, len(numbers))
            own = numbers[self.names[place]]
            found.append((own, self.how[place], tuple(numbers[name] for name in parents)))
        return found

    def _add(self, place: int, name: str, how: str, sources: Iterable[int]) -> None:
        self.names.setdefault(place, name)
        self.how.setdefault(place, how)
        self.sources.setdefault(place, {}).update(dict.fromkeys(sources))

    def _node(self, node: Node, states: States) -> Visit:
        kind = node.type
        if self._is_leaf(node):
            return self._leaf(node, states)
        if kind in self.flow.define:
            return self._set(node, states, self.flow.define[kind], DEFINED)
        if kind in self.flow.assign:
            return self._set(node, states, self.flow.assign[kind], COMPUTED)
        if kind in self.flow.update or _is_increment(node):
            return self._update(node, states)
        if kind in self.flow.branch:
            return self._branch(node, states)
        if kind in self.flow.loop:
            return self._loop(node, states)
        if kind in self.flow.each:
            return self._each(node, states)
        return self._children(node, states)

    def _is_leaf(self, node: Node) -> bool:
        return not node.child_count or node.type in STRINGS

    def _leaf(self, node: Node, states: States) -> Visit:
        yield from ()
        name = self._name(node)
        if name is None:
            return states
        if name in states:
            self._add(node.start_byte, name, DEFINED, states[name])
            self._known(node.start_byte, name, states)
        else:
            self._add(node.start_byte, name, DEFINED, ())
            if node.type in self.flow.names:
                states = states | {name: (node.start_byte,)}
        return states

    def _known(self, place: int, name: str, states: States) -> None:
        for source in states[name]:
            self.names.setdefault(source, name)
            self.how.setdefault(source, DEFINED)
            self.sources.setdefault(source, {})

    def _name(self, node: Node) -> str | None:
        """The text of a name or a literal; None for a keyword, an operator or nothing at all."""
        if node.type in self.comments or node.start_byte == node.end_byte or node.text is None:
            return None
        text = node.text.decode("utf-8", errors="replace")
        return None if text == node.type else text

    def _leaves(self, node: Node) -> list[tuple[int, str]]:
        """Place and text of every name or literal below a node."""
        found, stack = [], [node]
        while stack:
            top = stack.pop()
            if not self._is_leaf(top):
                stack.extend(reversed(top.children))
                continue
            name = self._name(top)
            if name is not None:
                found.append((top.start_byte, name))
        return found

    def _children(self, node: Node, states: States) -> Visit:
        first = [child for child in node.children if child.type in self.flow.first]
        rest = [child for child in node.children if child.type not in self.flow.first]
        for child in chain(first, rest):
            states = yield self._node(child, states)
        return states

    def _set(self, node: Node, states: States, keys: tuple[Key, Key], how: str) -> Visit:
        target, value = (self._at(node, key) for key in keys)
        if target is None or value == target:
            return (yield self._children(node, states))
        if value is None:
            if how == COMPUTED:
                return (yield self._children(node, states))
            return self._declared(target, states)
        states = yield self._node(value, states)
        return self._flows(target, value, how, states)

    def _declared(self, target: Node, states: States) -> States:
        leaves = self._leaves(target)
        for place, name in leaves:
            self._add(place, name, DEFINED, ())
        return states | {name: (place,) for place, name in leaves}

    def _flows(self, target: Node, value: Node, how: str, states: States) -> States:
        new: States = {}
        for one, other in self._pairs(target, value):
            sources = self._leaves(other)
            for place, name in sources:
                self.names.setdefault(place, name)
                self.how.setdefault(place, DEFINED)
                self.sources.setdefault(place, {})
            first = {name: place for place, name in reversed(sources)}
            for place, name in self._leaves(one):
                self._add(place, name, how, first.values())
                new[name] = (place,)
        return states | new

    def _pairs(self, target: Node, value: Node) -> list[tuple[Node, Node]]:
        """What flows into what: member by member where both sides are lists of one length."""
        if target.type in self.flow.unpacks and value.type in self.flow.unpacks:
            targets, values = target.named_children, value.named_children
            if len(targets) == len(values):
                return list(zip(targets, values, strict=True))
        return [(target, value)]

    def _update(self, node: Node, states: States) -> Visit:
        yield from ()
        return self._flows(node, node, COMPUTED, states)

    def _branch(self, node: Node, states: States) -> Visit:
        start = now = states
        ends: list[States] = []
        covered = False
        for place, child in enumerate(node.children):
            field = node.field_name_for_child(place)
            if field == "alternative" or (child.is_named and child.type in others):
                ends.append((yield self._node(child, start)))
                covered = covered or child.type not in partial
                continue
            now = yield self._node(child, now)
            if field in ("condition", "value"):
                start = now
        return _joined([now, *ends] if covered else [now, *ends, start])

    def _loop(self, node: Node, states: States) -> Visit:
        parts: list[tuple[str | None, Node]] = []
        for place, child in enumerate(node.children):
            if child.type in inline:
                parts += [
                    (child.field_name_for_child(inner), part)
                    for inner, part in enumerate(child.children)
                ]
            else:
                parts.append((node.field_name_for_child(place), child))
        again = [part for field, part in parts if field not in once]
        return (yield self._twice([part for _, part in parts], again, states))

    def _twice(self, parts: list[Node], again: list[Node], states: States) -> Visit:
        self.depth += 1
        for part in chain(parts, again if self.depth <= TWICE else ()):
            states = yield self._node(part, states)
        self.depth -= 1
        return states

    def _each(self, node: Node, states: States) -> Visit:
        target, value, body = (self._at(node, key) for key in self.flow.each[node.type])
        if target is None or value is None:
            return (yield self._children(node, states))
        self.depth += 1
        for _ in range(2 if self.depth <= TWICE else 1):
            states = yield self._node(value, states)
            states = self._flows(target, value, COMPUTED, states)
            if body is not None:
                states = yield self._node(body, states)
        self.depth -= 1
        for place, child in enumerate(node.children):
            if node.field_name_for_child(place) == "alternative":  # `else` of a Python loop
                states = yield self._node(child, states)
        return states

    def _at(self, node: Node, key: Key) -> Node | None:
        if isinstance(key, str):
            return node.child_by_field_name(key)
        named = [child for child in node.named_children if child.type not in self.comments]
        return named[key] if -len(named) <= key < len(named) else None


def _is_increment(node: Node) -> bool:
    """C#'s `++x` and `--x`, whose node type is that of `!x` too."""
    return node.type == "prefix_unary_expression" and node.children[0].type in ("++", "--")


def _joined(ends: list[States]) -> States:
    """The states after one of several ways was taken."""
    names = dict.fromkeys(chain.from_iterable(ends))
    return {
        name: tuple(dict.fromkeys(chain.from_iterable(end.get(name, ()) for end in ends)))
        for name in names
    }


def _run(visit: Visit) -> States:
    """Run a visit and those it asks for on a stack of our own: depth is no matter."""
    stack: list[Visit] = [visit]
    result: States | None = None
    while True:
        try:
            visit = stack[-1].send(result)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            stack.pop()
            states: States = end.value
            if not stack:
                return states
            result = states
        else:
            stack.append(visit)
            result = None


def match(reader: Reader, prediction: Tree, references: list[Tree]) -> tuple[int, int]:
    """How many flows of the references the prediction has, and how many there are."""
    there = Counter(reader.edges(prediction))
    found = total = 0
    for reference in references:
        wanted = Counter(reader.edges(reference))
        found += sum((wanted & there).values())
        total += sum(wanted.values())
    return found, total
