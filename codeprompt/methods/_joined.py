"""Methods put together, `soft+lora`: each part trains, and their injections are one (`join`).

Ding et al. 2023 (Delta tuning), section 4.2: parallel combinations train all parts at once;
sequential ones train a part on top of tuned and frozen ones, which is `tuned+lora`. Every part
has its own settings, recipe rate and packs to build on. A setting that one part alone has goes by
its bare name (`rank`), any other by `part.name` (`soft.length`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass, replace
from typing import Any

from torch import nn

from codeprompt.backbones.base import Family
from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import (
    Context,
    Given,
    HeadKind,
    LinearHead,
    Method,
    Parts,
    PromptModule,
)
from codeprompt.template import Template

Options = dict[str, dict[str, Any]]


class Together(Parts):
    """The parts' modules by method, and a head."""

    def paced(self) -> dict[str, list[nn.Parameter]]:
        return {
            name: [p for p in part.parameters() if p.requires_grad]
            for name, part in self.parts.items()
        }


class Joined(Method[Any]):
    """What several methods are together; `joined` fills in what they declare."""

    members: Mapping[str, Method[Any]]

    def configure(self, options: Mapping[str, Any]) -> Any:
        own: Options = {name: {} for name in self.members}
        for name, value in options.items():
            part, dot, rest = name.partition(".")
            part = part.replace("_", "-")
            if dot and part in own:
                own[part][rest] = value
            elif part in own and isinstance(value, Mapping):
                own[part].update(value)
            else:
                own[self._owner(name)][name] = value
        found = {_key(n): part.configure(own[n]) for n, part in self.members.items()}
        return self.settings(**found)

    def _owner(self, name: str) -> str:
        """Whose setting a bare name is. Raises `UsageError` where it is nobody's or several's."""
        has = {n: [f.name for f in fields(m.settings)] for n, m in self.members.items()}
        owners = [part for part, known in has.items() if name in known]
        if len(owners) > 1:
            raise UsageError(
                f"The setting '{name}' is one of {' and of '.join(owners)}",
                do=f"Say whose: --set {owners[0]}.{name}=...",
            )
        if not owners:
            takes = ", ".join(f"{part}.{one}" for part, known in has.items() for one in known)
            raise UsageError(
                f"The method has no setting '{name}'", expected=f"one of its settings: {takes}"
            )
        return owners[0]

    def template(self, hard: Template, settings: Any) -> Template:
        for name, part in self.members.items():
            hard = part.template(hard, getattr(settings, _key(name)))
        return hard

    def given(self, settings: Any) -> tuple[str, ...]:
        return tuple(one for own, part in self._each(settings) for one in part.given(own))

    def grows(self, settings: Any) -> tuple[str, ...]:
        return tuple(one for own, part in self._each(settings) for one in part.grows(own))

    def fitted(self, hard: Template, settings: Any, given: Sequence[Given]) -> Template:
        shares = self._shares(settings, given)
        with_slots = []
        template = hard
        for name, part in self.members.items():
            own = getattr(settings, _key(name))
            if not hard.soft and part.fitted(hard, own, shares[name]).soft:
                with_slots.append(name)
            template = part.fitted(template, own, shares[name])
        _check_slots(with_slots)
        return template

    def inherited(self, settings: Any, given: Sequence[Given]) -> HeadKind | None:
        shares = self._shares(settings, given)
        found = [
            part.inherited(getattr(settings, _key(name)), shares[name])
            for name, part in self.members.items()
        ]
        return "linear" if "linear" in found else None

    def recorded(self, settings: Any, given: Sequence[Given]) -> dict[str, Any]:
        shares = self._shares(settings, given)
        return {
            name: part.recorded(getattr(settings, _key(name)), shares[name])
            for name, part in self.members.items()
        }

    def head(self, family: Family) -> HeadKind:
        heads = [part.head(family) for part in self.members.values()]
        return "linear" if "linear" in heads else "verbalizer"

    def build(self, context: Context, settings: Any) -> PromptModule:
        shares = self._shares(settings, context.given)
        parts: dict[str, PromptModule] = {}
        for name, part in self.members.items():
            own = replace(context, head="verbalizer", given=shares[name])
            parts[name] = part.build(own, getattr(settings, _key(name)))
        made: dict[str, Injection] = {name: part.export() for name, part in parts.items()}
        _check_slots([n for n, i in made.items() if i.length])
        if len(staged := [name for name, part in parts.items() if len(part.stages) > 1]) > 1:
            raise UsageError(
                f"{' and '.join(staged)} both train in stages of their own", do="Leave one out"
            )
        if context.head == "linear" and all(one.head is None for one in made.values()):
            parts["head"] = LinearHead(context)
        return Together(**parts)

    def _each(self, settings: Any) -> list[tuple[Any, Method[Any]]]:
        return [(getattr(settings, _key(name)), part) for name, part in self.members.items()]

    def _shares(self, settings: Any, given: Sequence[Given]) -> dict[str, tuple[Given, ...]]:
        """Every part's own packs: those it names, then those that are tuned first for it."""
        out: dict[str, tuple[Given, ...]] = {}
        named, grown = 0, len(self.given(settings))
        for (own, part), name in zip(self._each(settings), self.members, strict=True):
            first, then = len(part.given(own)), len(part.grows(own))
            out[name] = (*given[named : named + first], *given[grown : grown + then])
            named, grown = named + first, grown + then
        return out


def joined(members: Sequence[tuple[str, Method[Any]]]) -> Method[Any]:
    """One method of several, in the order that templates are made: what is given comes first.

    Raises `UsageError` where they cannot be one.
    """
    name = "+".join(part for part, _ in members)
    if len({part for part, _ in members}) < len(members):
        raise UsageError(f"'{name}' names a method twice", do="Name each once")
    for part, method in members:
        if method.kind == "weights":
            raise UsageError(
                f"'{part}' in '{name}' is about the backbone's own weights, which stay frozen "
                "where methods are put together",
                do="Leave it out",
            )
    ordered = dict(sorted(members, key=lambda one: one[1].kind != "given"))
    methods = list(ordered.values())
    families = [f for f in methods[0].families if all(f in m.families for m in methods)]
    kinds = [k for k in methods[0].kinds if all(k in m.kinds for m in methods)]
    settings = make_dataclass(
        "JoinedSettings", [(_key(n), m.settings) for n, m in ordered.items()], frozen=True
    )
    declared = {
        "__doc__": f"{name}, trained together.",
        "settings": settings,
        "kind": "+".join(m.kind for _, m in members),  # by the name's own order
        "mixable": all(m.mixable for m in methods),
        "trains": any(m.trains for m in methods),
        "kinds": tuple(kinds),
        "families": tuple(families),
        "members": ordered,
    }
    made: Method[Any] = type("JoinedMethod", (Joined,), declared)()
    return made


def _key(name: str) -> str:
    """A method's name as a field."""
    return name.replace("-", "_")


def _check_slots(names: Sequence[str]) -> None:
    if len(names) > 1:
        raise UsageError(
            f"{' and '.join(names)} both bring soft slots, and a template has one set of them",
            do="Put a method with slots together with one of columns, layers or deltas",
        )
