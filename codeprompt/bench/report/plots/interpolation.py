"""Scores along a number that a grid varied, WiSE-FT's alpha before all (Wortsman et al. 2022).

Rows whose variant is `alpha=0.5` make a curve for each evaluation; where there are two evaluations
of one data set, the second figure sets them against each other: on the rows that training resembles
and on those it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeprompt.bench.report.palette import INK, LIGHT, MARKERS, SERIES, drawing
from codeprompt.bench.results import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIED = re.compile(r"(?:^|, )(?P<key>[\w-]+)=(?P<value>-?\d+(?:\.\d+)?)(?=$|, )")
LEAST = 3  # points of a curve

Point = tuple[float, float, float, float]  # value of the key, mean, low, high


@dataclass(frozen=True)
class Curve:
    """One arm's scores along a key. rest: arm, shots and whatever else varied."""

    key: str
    rest: str
    evaluation: str
    points: tuple[Point, ...]


def curves(table: Table, metric: str) -> list[Curve]:
    """Every curve of at least `LEAST` values in a table."""
    found: dict[tuple[str, str], dict[float, Point]] = {}
    for row in table.rows:
        estimate = row.metrics.get(metric)
        if estimate is None or estimate.mean is None:
            continue
        ends = estimate.interval or (estimate.mean, estimate.mean)
        for match in VARIED.finditer(row.variant):
            others = [
                part for part in row.variant.split(", ") if part != match.group().lstrip(", ")
            ]
            rest = ", ".join([row.arm, f"{row.shots} shots", *others])
            value = float(match["value"])
            found.setdefault((match["key"], rest), {})[value] = (value, estimate.mean, *ends)
    return [
        Curve(key, rest, table.evaluation, tuple(sorted(points.values())))
        for (key, rest), points in found.items()
        if len(points) >= LEAST
    ]


def members(table: Table, metric: str) -> set[str]:
    """Names of the rows that make these curves, for figures that would only be crowded by them."""
    keys = {curve.key for curve in curves(table, metric)}
    return {
        row.name
        for row in table.rows
        if any(match["key"] in keys for match in VARIED.finditer(row.variant))
    }


@contextmanager
def draw(several: Sequence[Curve], metric: str) -> Iterator[Figure]:
    """Score along the key, a line for each arm and evaluation."""
    with drawing(height=3.3 + 0.16 * len(several)) as figure:
        axes = figure.add_subplot()
        for place, curve in enumerate(several):
            colour = LIGHT[SERIES[place % len(SERIES)]]
            along, means, lows, highs = zip(*curve.points, strict=True)
            axes.plot(
                along,
                means,
                color=colour,
                marker=MARKERS[place % len(MARKERS)],
                label=f"{curve.rest}: {curve.evaluation}",
            )
            axes.fill_between(along, lows, highs, color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel(several[0].key)
        axes.set_ylabel(metric)
        figure.legend(loc="outside lower center")
        yield figure


@contextmanager
def draw_against(pairs: Mapping[str, tuple[Curve, Curve]], metric: str) -> Iterator[Figure]:
    """One evaluation against another along the key: up and right is better."""
    with drawing(height=3.3 + 0.16 * len(pairs)) as figure:
        axes = figure.add_subplot()
        for place, (name, (one, other)) in enumerate(pairs.items()):
            colour = LIGHT[SERIES[place % len(SERIES)]]
            there = {value: mean for value, mean, _, _ in other.points}
            met = [(v, mean, there[v]) for v, mean, _, _ in one.points if v in there]
            axes.plot(
                [inner for _, inner, _ in met],
                [outer for _, _, outer in met],
                color=colour,
                marker=MARKERS[place % len(MARKERS)],
                label=name,
            )
            for value, inner, outer in (met[0], met[-1]):
                axes.annotate(
                    f"{one.key}={value:g}",
                    (inner, outer),
                    (4, 4),
                    textcoords="offset points",
                    color=INK,
                )
        first, second = next(iter(pairs.values()))
        axes.set_xlabel(f"{metric} on {first.evaluation}")
        axes.set_ylabel(f"{metric} on {second.evaluation}")
        figure.legend(loc="outside lower center")
        yield figure


def matched(own: Sequence[Curve], other: Sequence[Curve]) -> dict[str, tuple[Curve, Curve]]:
    """Curves of the same arm on two evaluations that share at least `LEAST` values."""
    there = {(curve.key, curve.rest): curve for curve in other}
    out: dict[str, tuple[Curve, Curve]] = {}
    for curve in own:
        second = there.get((curve.key, curve.rest))
        if second and len({p[0] for p in curve.points} & {p[0] for p in second.points}) >= LEAST:
            out[curve.rest] = (curve, second)
    return out
