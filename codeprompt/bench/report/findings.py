"""What a table says, at a glance: only what was tested, and ties as ties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codeprompt.bench.report import numbers
from codeprompt.bench.report.grid import shots_order
from codeprompt.bench.results import Contrast, Table

Verdict = Literal["better", "worse", "tie"]
VERDICTS: dict[str, Verdict] = {"b": "better", "a": "worse", "tie": "tie"}


@dataclass(frozen=True)
class Said:
    """One arm against the finding's own: by how much, and whether that holds."""

    arm: str
    difference: str
    verdict: Verdict
    one_seed: bool = False


@dataclass(frozen=True)
class Finding:
    """All arms that were held against one at one number of shots, the best first."""

    against: str
    shots: str
    said: tuple[Said, ...]


def findings(table: Table) -> list[Finding]:
    """For each arm that others were held against, at each number of shots."""
    groups: dict[tuple[str, str], list[Contrast]] = {}
    for one in sorted(table.contrasts, key=lambda c: (c.a, shots_order(c.shots))):
        groups.setdefault((one.a, str(one.shots)), []).append(one)
    return [_finding(a, own, table) for (a, _), own in groups.items()]


def _finding(a: str, contrasts: list[Contrast], table: Table) -> Finding:
    sign = -1 if table.higher_is_better.get(contrasts[0].metric, True) else 1
    order = sorted(contrasts, key=lambda one: sign * one.difference)
    return Finding(a, numbers.shots_text(contrasts[0].shots), tuple(_said(one) for one in order))


def _said(one: Contrast) -> Said:
    shown = numbers.number(one.difference, numbers.digits(one.metric), sign=True)
    return Said(one.b, shown, VERDICTS[one.winner], one.one_seed)
