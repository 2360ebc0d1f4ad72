"""Is a probability worth its name? Share of positive rows against the score, in ten bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from codeprompt.bench.report.palette import FAINT, Look, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10
LEAST = 5  # rows of a bin that is shown

Scored = Sequence[tuple[float, bool]]  # probability of the positive label, and whether it was right


def bins(scored: Scored) -> list[tuple[float, float, int]]:
    """Mean score, share of positive rows and number of rows of each bin with enough of them."""
    scores = np.array([score for score, _ in scored])
    truth = np.array([positive for _, positive in scored], dtype=np.float64)
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    out = []
    for one in range(BINS):
        inside = place == one
        if inside.sum() >= LEAST:
            out.append(
                (float(scores[inside].mean()), float(truth[inside].mean()), int(inside.sum()))
            )
    return out


@contextmanager
def draw(arms: Mapping[str, Scored], look: Mapping[str, Look]) -> Iterator[Figure]:
    """A line for each arm above, how often each score is given below."""
    with drawing(height=4.1 + 0.16 * ((len(arms) + 1) // 2)) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot((0, 1), (0, 1), color=FAINT, linewidth=0.8, linestyle="--")
        for name, scored in arms.items():
            own, found = look[name], bins(scored)
            above.plot(
                [x for x, _, _ in found],
                [y for _, y, _ in found],
                own.dashes,
                color=own.colour,
                marker=own.marker,
                label=name,
            )
            counts, edges = np.histogram(
                [score for score, _ in scored], bins=np.linspace(0, 1, BINS + 1)
            )
            below.stairs(counts / max(1, counts.sum()), edges, color=own.colour)
        above.set_xlim(0, 1)
        above.set_ylim(0, 1)
        above.set_ylabel("share of positive rows")
        below.set_ylabel("share of rows")
        below.set_xlabel("score of the positive label")
        figure.legend(loc="outside lower center", ncols=2)
        yield figure
