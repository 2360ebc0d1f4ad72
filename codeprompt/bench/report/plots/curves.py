"""Score against the number of shots, with bands: the 95% t interval over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeprompt.bench.report import numbers
from codeprompt.bench.report.grid import shots_order
from codeprompt.bench.report.palette import FAINT, Look, drawing, frame, on_scale
from codeprompt.bench.report.plots.interpolation import members
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import Table, TableRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, float, float]  # shots, mean, low, high


def sizes(source: Source, table: Table) -> dict[str, float]:
    """Shots as written to how many rows that was: a share counts what was drawn."""
    out: dict[str, float] = {}
    for row in sorted(table.rows, key=lambda row: shots_order(row.shots)):
        if isinstance(row.shots, int):
            out[str(row.shots)] = float(row.shots)
            continue
        drawn = [source.results[hash].drawn for hash in row.cells]
        counts = [one.train for one in drawn if one is not None]
        if counts:
            out[row.shots] = sum(counts) / len(counts)
    return {shots: size for shots, size in out.items() if size > 0}


def lines(table: Table, metric: str, size: Mapping[str, float]) -> dict[str, list[Point]]:
    """Each arm's points in the order of shots; arms that see no shots are level lines."""
    out: dict[str, list[Point]] = {}
    along = members(table, metric)
    for row in table.rows:
        found = row.metrics.get(metric)
        if found is None or found.mean is None or row.name in along:
            continue
        low, high = found.interval or (found.mean, found.mean)
        if str(row.shots) in size:
            place = size[str(row.shots)]
            out.setdefault(row.name, []).append((place, found.mean, low, high))
        elif row.shots == 0 and not _has_shots(table, row):
            ends = (min(size.values()), max(size.values()))
            out[row.name] = [(end, found.mean, low, high) for end in ends]
    return {name: sorted(points) for name, points in out.items()}


def _has_shots(table: Table, row: TableRow) -> bool:
    return any(other.name == row.name and other.shots != 0 for other in table.rows)


@contextmanager
def draw(
    source: Source, table: Table, metric: str, look: Mapping[str, Look]
) -> Iterator[Figure | None]:
    """The curves of one metric; None where fewer than two numbers of shots were run."""
    size = sizes(source, table)
    found = lines(table, metric, size) if len(size) > 1 else {}
    if not any(len(points) > 1 for points in found.values()):
        yield None
        return
    with drawing(height=3.3 + 0.16 * ((len(found) + 1) // 2)) as figure:
        axes = figure.add_subplot()
        tops = {name: max(mean for _, mean, _, _ in points) for name, points in found.items()}
        shown = on_scale(tops, look)
        for name, points in found.items():
            off = "" if name in shown else f" (off the scale: {short_mean(points)})"
            _line(axes, name, points, look[name], off)
        all_points = [point for name in shown for point in found[name]]
        _, means, lows, highs = zip(*all_points, strict=True)
        frame(axes, means, lows, highs)
        axes.set_xscale("log")
        axes.set_xticks(list(size.values()), list(size))
        axes.minorticks_off()
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("shots")
        axes.set_ylabel(metric)
        figure.legend(loc="outside lower center", ncols=2)
        yield figure


def short_mean(points: list[Point]) -> str:
    """Where a line would be."""
    return numbers.number(sum(mean for _, mean, _, _ in points) / len(points), 1)


def _line(axes: Axes, name: str, points: list[Point], look: Look, off: str = "") -> None:
    places, means, lows, highs = zip(*points, strict=True)
    level = len(set(means)) == 1 and look.colour == FAINT
    axes.plot(
        places,
        means,
        look.dashes,
        color=look.colour,
        marker="" if level and len(points) > 1 else look.marker,
        linewidth=1.1 if look.colour == FAINT else 1.6,
        label=name + off,
    )
    if any(low < high for low, high in zip(lows, highs, strict=True)):
        axes.fill_between(places, lows, highs, color=look.colour, alpha=0.15, linewidth=0)


def caption(table: Table, metric: str) -> str:
    """What one sees."""
    better = "higher" if table.higher_is_better.get(metric, True) else "lower"
    return (
        f"{metric} ({better} is better) on {numbers.count(table.n)} fixed rows. Bands: 95% t "
        "interval over seeds, each with shots of its own. Grey and broken: answers without a model."
    )
