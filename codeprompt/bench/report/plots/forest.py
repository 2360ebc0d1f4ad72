"""Differences between arms, each with its interval: what crosses zero is a tie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from codeprompt.bench.report import numbers
from codeprompt.bench.report.grid import shots_order
from codeprompt.bench.report.palette import FAINT, INK, LIGHT, RULE, drawing
from codeprompt.bench.results import Contrast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 36  # rows of one figure
COLOURS = {"b": LIGHT["s2"], "a": LIGHT["s4"], "tie": FAINT}


def parts(contrasts: Sequence[Contrast]) -> list[tuple[str, list[Contrast]]]:
    """Contrasts in figures of `MOST` rows at most: one arm that others are held against each."""
    out: list[tuple[str, list[Contrast]]] = []
    for name in dict.fromkeys(one.a for one in contrasts):
        own = sorted((c for c in contrasts if c.a == name), key=lambda c: shots_order(c.shots))
        out += [(name, own[start : start + MOST]) for start in range(0, len(own), MOST)]
    return out


@contextmanager
def draw(against: str, contrasts: Sequence[Contrast]) -> Iterator[Figure]:
    """The differences b - a for one a."""
    several = len({str(one.shots) for one in contrasts}) > 1
    with drawing(height=0.9 + 0.24 * len(contrasts)) as figure:
        axes = figure.add_subplot()
        names = []
        for place, one in enumerate(contrasts):
            low, high = one.interval
            colour = COLOURS[one.winner]
            axes.plot((low, high), (place, place), color=colour, solid_capstyle="butt")
            shape = "o" if one.winner != "tie" else "D"
            axes.plot([one.difference], [place], shape, color=colour)
            names.append(f"{one.b}, {one.shots}" if several else one.b)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(names)), names, color=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_color(RULE)
        axes.set_xlabel(f"difference from {against}\n{contrasts[0].metric}")  # one line is cut off
        yield figure


def caption(contrasts: Sequence[Contrast], higher: bool) -> str:
    """What one sees."""
    ties = sum(one.winner == "tie" for one in contrasts)
    side = "right" if higher else "left"
    once = sum(one.one_seed for one in contrasts)
    few = f" Of one seed, so over items alone: {once} of {len(contrasts)}." if once else ""
    return (
        f"Mean difference over seeds with its 95% interval over items; {side} of zero is better. "
        f"Coloured: holds over items and over seeds, after Holm's correction over the whole table; "
        f"grey diamonds: {numbers.count(ties)} of {len(contrasts)} are ties.{few}"
    )
