"""Published curves beside what needs no training here: what a published gain is a gain over.

Their scores are of other rows and other backbones, so nothing is tested; the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeprompt.bench.report.palette import FAINT, LIGHT, Look, drawing
from codeprompt.bench.results import Published, Table, TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 3  # numbers of shots that make a curve
LINES = {"full": "--", "prompt-full": "-"}
COLOURS = (LIGHT["s5"], LIGHT["s7"], LIGHT["s6"])


def lines(table: Table, metric: str) -> dict[tuple[str, str], list[Published]]:
    """(backbone, arm) to its published points over numbers of shots."""
    found: dict[tuple[str, str], list[Published]] = {}
    for one in table.published:
        if one.metric == metric and isinstance(one.shots, int) and one.shots > 0:
            found.setdefault((one.backbone, one.arm), []).append(one)
    return {
        key: sorted(own, key=lambda one: int(one.shots))
        for key, own in found.items()
        if len(own) >= LEAST
    }


def untrained(table: Table, metric: str) -> list[TableRow]:
    """What answers here without training: the backbone as it is, and the best without a model."""
    out = []
    for kind in ("untrained", "baseline"):
        own = [r for r in table.rows if r.kind == kind and (e := r.metrics.get(metric)) and e.mean]
        out += sorted(own, key=lambda row: -(row.metrics[metric].mean or 0.0))[:2]
    return out


@contextmanager
def draw(table: Table, metric: str, look: Mapping[str, Look]) -> Iterator[Figure | None]:
    """None where nothing was published over numbers of shots."""
    found, own = lines(table, metric), untrained(table, metric)
    if not found or not own:
        yield None
        return
    with drawing(height=3.3 + 0.16 * ((len(found) + len(own) + 1) // 2)) as figure:
        axes = figure.add_subplot()
        backbones = list(dict.fromkeys(backbone for backbone, _ in found))
        for (backbone, arm), points in found.items():
            axes.plot(
                [float(one.shots) for one in points],
                [one.value for one in points],
                LINES.get(arm, ":"),
                color=COLOURS[backbones.index(backbone) % len(COLOURS)],
                marker="o",
                markersize=3.5,
                label=f"{arm}, {backbone} (published)",
            )
        for row in own:
            axes.axhline(
                row.metrics[metric].mean or 0.0,
                color=look[row.name].colour if row.kind != "baseline" else FAINT,
                linestyle="-" if row.kind != "baseline" else look[row.name].dashes,
                linewidth=1.3,
                label=f"{row.name}, ours",
            )
        places = sorted({int(one.shots) for points in found.values() for one in points})
        axes.set_xscale("log")
        axes.set_xticks(places, [str(place) for place in places])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("shots")
        axes.set_ylabel(metric)
        figure.legend(loc="outside lower center", ncols=2)
        yield figure
