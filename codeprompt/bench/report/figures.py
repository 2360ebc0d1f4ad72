"""Every figure of a table, drawn and named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeprompt.bench.report.answers import scored
from codeprompt.bench.report.numbers import shots_text
from codeprompt.bench.report.palette import Look, svg
from codeprompt.bench.report.plots import (
    calibration,
    claim,
    cost,
    curves,
    forest,
    interpolation,
    standing,
)
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import Table
from codeprompt.bench.tables import kind_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = 3  # metrics of a table that get curves
CALIBRATED = 6  # arms of one calibration figure


@dataclass(frozen=True)
class Drawn:
    """name: of its files. caption: what one sees, and how to read it."""

    name: str
    title: str
    caption: str
    svg: str
    figure: Figure


def arms(source: Source) -> list[tuple[str, str]]:
    """Every arm of a run with its kind, in the order of the suite; kinds of the same order."""
    found: dict[str, str] = {}
    for hash in source.results:
        cell = source.results[hash].config
        name = f"{cell.arm} ({cell.variant})" if cell.variant else cell.arm
        found.setdefault(name, kind_of(cell))
    place = {name: turn for turn, name in enumerate(source.run.suite.arms)}
    return sorted(found.items(), key=lambda one: place.get(one[0].partition(" (")[0], len(place)))


def slug(*parts: str) -> str:
    """Parts of a file's name, and nothing that a file system or a link minds."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts if part)


def figures(source: Source, table: Table, look: dict[str, Look]) -> list[Drawn]:
    """All figures that a table has enough for."""
    out: list[Drawn] = []
    base = slug(table.task, table.data, table.evaluation)
    main = table.metrics[0] if table.metrics else ""
    for metric in table.metrics[:CURVES]:
        with curves.draw(source, table, metric, look) as figure:
            name = slug(base, "shots", metric)
            out += _drawn(figure, name, f"{metric} by shots", curves.caption(table, metric))
    out[1:1] = _standing(table, main, base, look) if main else []
    for turn, (against, own) in enumerate(forest.parts(table.contrasts), start=1):
        with forest.draw(against, own) as figure:
            higher = table.higher_is_better.get(own[0].metric, True)
            name = slug(base, "against", against, str(turn))
            out += _drawn(figure, name, f"Against {against}", forest.caption(own, higher))
    out += _claim(table, main, base, look) if main else []
    out += _costs(table, main, base, look) if main else []
    out += _calibration(source, table, base, look)
    out += _interpolation(source, table, main, base) if main else []
    return out


def _drawn(figure: Figure | None, name: str, title: str, caption: str) -> list[Drawn]:
    if figure is None:
        return []
    return [Drawn(name, title, caption, svg(figure, name), figure)]


def _standing(table: Table, metric: str, base: str, look: dict[str, Look]) -> list[Drawn]:
    shots, _ = cost.shown(table, metric)
    with standing.draw(table, metric, look) as figure:
        return _drawn(
            figure,
            slug(base, "standing"),
            f"{metric} at {shots_text(shots)}",
            standing.caption(table, metric),
        )


def _claim(table: Table, metric: str, base: str, look: dict[str, Look]) -> list[Drawn]:
    with claim.draw(table, metric, look) as figure:
        return _drawn(
            figure,
            slug(base, "published"),
            "Published curves, and what needs no training here",
            "Published scores are means over six languages, of other rows and backbones: nothing "
            "is tested. A curve below a level line gains over less than an untrained answer gives.",
        )


def _costs(table: Table, metric: str, base: str, look: dict[str, Look]) -> Iterator[Drawn]:
    shots, _ = cost.shown(table, metric)
    for axis in cost.AXES:
        with cost.draw(table, metric, axis, look) as figure:
            yield from _drawn(
                figure,
                slug(base, "cost", axis),
                f"{metric} against {cost.AXES[axis][0]}",
                f"At {shots_text(shots)}; bars: 95% t interval over seeds; level lines: arms that "
                "cost nothing of this kind. Up and left is better.",
            )


def _calibration(source: Source, table: Table, base: str, look: dict[str, Look]) -> Iterator[Drawn]:
    if not table.metrics:
        return
    shots, rows = cost.shown(table, table.metrics[0])
    found = {row.name: scored(source, table, row) for row, _ in rows if row.kind != "baseline"}
    found = {name: own for name, own in found.items() if own}
    found = dict(list(found.items())[:CALIBRATED])
    if found:
        with calibration.draw(found, look) as figure:
            yield from _drawn(
                figure,
                slug(base, "calibration"),
                "Calibration",
                f"At {shots_text(shots)}, all seeds together. On the diagonal, a score of 0.7 is "
                f"right 7 times in 10; bins of fewer than {calibration.LEAST} rows are left out.",
            )


def _interpolation(source: Source, table: Table, metric: str, base: str) -> Iterator[Drawn]:
    found = interpolation.curves(table, metric)
    for key in dict.fromkeys(curve.key for curve in found):
        own = [curve for curve in found if curve.key == key]
        with interpolation.draw(own, metric) as figure:
            yield from _drawn(
                figure,
                slug(base, "along", key),
                f"{metric} along {key}",
                "Bands: 95% t interval over seeds.",
            )
        for other in source.tables.tables:
            if other.data != table.data or other.evaluation == table.evaluation:
                continue
            second = interpolation.curves(other, metric)
            pairs = interpolation.matched(own, [c for c in second if c.key == key])
            if not pairs or source.tables.tables.index(other) < source.tables.tables.index(table):
                continue
            with interpolation.draw_against(pairs, metric) as figure:
                yield from _drawn(
                    figure,
                    slug(base, "against", other.evaluation, key),
                    f"{table.evaluation} against {other.evaluation}",
                    f"Each point a value of {key}. Up and right is better on both.",
                )
