"""What a table says, in sentences: only what was tested, and ties as ties."""

from __future__ import annotations

from codeprompt.bench.report import numbers
from codeprompt.bench.report.grid import shots_order
from codeprompt.bench.results import Contrast, Table


def findings(table: Table) -> list[tuple[str, str]]:
    """For each arm that others were held against, at each number of shots: where, and what."""
    groups: dict[tuple[str, str], list[Contrast]] = {}
    for one in sorted(table.contrasts, key=lambda c: shots_order(c.shots)):
        groups.setdefault((one.a, str(one.shots)), []).append(one)
    return [_sentence(a, own, table) for (a, _), own in groups.items()]


def _sentence(a: str, contrasts: list[Contrast], table: Table) -> tuple[str, str]:
    higher = table.higher_is_better.get(contrasts[0].metric, True)
    parts = []
    for winner, verb in (("b", "better"), ("a", "worse"), ("tie", "no difference shown")):
        own = [one for one in contrasts if one.winner == winner]
        if own:
            own.sort(key=lambda one: -one.difference if higher else one.difference)
            parts.append(f"{verb}: " + ", ".join(_named(one) for one in own))
    where = f"At {numbers.shots_text(contrasts[0].shots)}, against {a}:"
    return where, "; ".join(parts) + "."


def _named(one: Contrast) -> str:
    places = numbers.digits(one.metric)
    return f"{one.b} ({numbers.number(one.difference, places, sign=True)})"
