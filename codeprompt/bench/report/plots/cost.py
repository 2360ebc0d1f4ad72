"""What a score costs: training time, and parameters trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeprompt.bench.report.grid import shots_order
from codeprompt.bench.report.palette import FAINT, Look, drawing, frame, on_scale, ticks
from codeprompt.bench.report.plots.interpolation import members
from codeprompt.bench.results import Cost, Estimate, Table, TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES: dict[str, tuple[str, Callable[[Cost], float | None]]] = {
    "time": ("seconds of training, a seed", lambda cost: cost.train_seconds),
    "parameters": ("parameters trained", lambda cost: float(cost.parameters)),
    "latency": ("ms for one answer", lambda cost: cost.latency_ms),
}


TRAINED = ("frozen", "weights")


def shown(table: Table, metric: str) -> tuple[int | str, list[tuple[TableRow, Estimate]]]:
    """The most shots at which the most trained arms have a score, and the rows there."""
    along = members(table, metric)
    scored = [
        (row, found)
        for row in table.rows
        if row.name not in along
        and (found := row.metrics.get(metric)) is not None
        and found.mean is not None
    ]
    trained = [row for row, _ in scored if row.kind in TRAINED]
    counts: dict[int | str, int] = {}
    for row in trained:
        counts[row.shots] = counts.get(row.shots, 0) + 1
    if not counts:
        return 0, []
    shots = max(counts, key=lambda one: (counts[one], shots_order(one)))
    return shots, [pair for pair in scored if pair[0].shots in (shots, 0)]


@contextmanager
def draw(table: Table, metric: str, axis: str, look: Mapping[str, Look]) -> Iterator[Figure | None]:
    """Score against one cost, arms that cost nothing as level lines; None where nothing differs."""
    label, of = AXES[axis]
    _, rows = shown(table, metric)
    points = [
        (row, found, of(row.cost) if axis == "latency" or row.kind in TRAINED else None)
        for row, found in rows
    ]
    priced = [(row, found, float(x)) for row, found, x in points if x]
    if len(priced) < 2 or len({x for _, _, x in priced}) < 2:
        yield None
        return
    kept = on_scale({row.name: found.mean or 0.0 for row, found, _ in points}, look)
    points = [point for point in points if point[2] or point[0].name in kept]
    free = [(row, found) for row, found, x in points if not x]
    with drawing(height=3.3 + 0.16 * ((len(points) + 1) // 2)) as figure:
        axes = figure.add_subplot()
        for row, found in free:
            own = look[row.name]
            axes.axhline(
                found.mean or 0.0,
                color=own.colour,
                linestyle="--" if own.dashes == "-" else own.dashes,
                linewidth=1.1,
                label=row.name,
            )
        for row, found, x in priced:
            own, mean = look[row.name], found.mean or 0.0
            low, high = found.interval or (mean, mean)
            axes.errorbar(
                [x],
                [mean],
                yerr=[[mean - low], [high - mean]],
                fmt=own.marker,
                color=own.colour,
                capsize=2.5,
                markersize=6,
                label=row.name,
            )
        means, ends = [f.mean or 0.0 for _, f, _ in points], [f.interval for _, f, _ in points]
        lows = [end[0] if end else mean for end, mean in zip(ends, means, strict=True)]
        highs = [end[1] if end else mean for end, mean in zip(ends, means, strict=True)]
        frame(axes, means, lows, highs)
        axes.set_xscale("log")
        axes.margins(x=0.12)
        ticks(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(metric)
        axes.tick_params(axis="x", which="minor", color=FAINT, length=2)
        figure.legend(loc="outside lower center", ncols=2)
        yield figure
