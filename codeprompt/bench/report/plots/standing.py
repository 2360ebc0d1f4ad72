"""Where everything stands: every arm at one number of shots, its seeds as dots, best on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeprompt.bench.report import numbers
from codeprompt.bench.report.palette import FAINT, INK, Look, drawing, limits
from codeprompt.bench.report.plots.cost import shown
from codeprompt.bench.results import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # rows of one figure
LEAST = 3


@contextmanager
def draw(table: Table, metric: str, look: Mapping[str, Look]) -> Iterator[Figure | None]:
    """A row for each arm; None where there are too few to be set in order."""
    _, rows = shown(table, metric)
    sign = -1 if table.higher_is_better.get(metric, True) else 1
    rows = sorted(rows, key=lambda pair: sign * (pair[1].mean or 0.0))[:MOST]
    if len(rows) < LEAST:
        yield None
        return
    with drawing(height=0.9 + 0.27 * len(rows)) as figure:
        axes = figure.add_subplot()
        for place, (row, found) in enumerate(rows):
            own, mean = look[row.name], found.mean or 0.0
            seeds = [value for value in found.values if value is not None]
            axes.plot(seeds, [place] * len(seeds), "o", color=own.colour, alpha=0.35, markersize=3)
            if found.interval:
                axes.plot(found.interval, (place, place), color=own.colour, solid_capstyle="butt")
            axes.plot([mean], [place], own.marker, color=own.colour, markersize=6.5)
            axes.annotate(
                numbers.number(mean, numbers.digits(metric)),
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=FAINT if row.kind == "baseline" else INK,
                annotation_clip=False,
            )
        axes.set_yticks(range(len(rows)), [row.name for row, _ in rows])
        for label, (row, _) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(FAINT if row.kind == "baseline" else INK)
        means = [found.mean or 0.0 for _, found in rows]
        ends = [found.interval or (found.mean or 0.0,) * 2 for _, found in rows]
        axes.set_xlim(*limits(means, [low for low, _ in ends], [high for _, high in ends]))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(metric)
        yield figure


def caption(table: Table, metric: str) -> str:
    """What one sees, and how much one does not."""
    count = len(shown(table, metric)[1])
    left = f" The best {MOST} of {count}." if count > MOST else ""
    return (
        "Mean, its 95% t interval over seeds, and each seed as a dot; grey crosses: answers "
        f"without a model.{left}"
    )
