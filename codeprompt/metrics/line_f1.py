"""F1 of the lines that are told, over all lines of all functions, as a percentage.

A prediction tells the lines before its bar (those above the pack's threshold), or all it names
where it has no bar. 0 where nothing is told or nothing told is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.metrics._lines import read
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Micro-averaged F1, with precision and recall as parts."""
    rows = []
    for item in items:
        ranking, wanted = read(item)
        rows.append((len(ranking.told & wanted), len(ranking.told), len(wanted)))
    counts = np.array(rows, dtype=np.float64)
    hits, told, wanted_all = counts.sum(axis=0).tolist()
    parts = {
        "precision": 100.0 * hits / told if told else 0.0,
        "recall": 100.0 * hits / wanted_all if wanted_all else 0.0,
    }
    return of_totals(counts, _f1, parts=parts)


def _f1(totals: Array) -> Array:
    size = totals[:, 1] + totals[:, 2]
    return np.where(size > 0, 200.0 * totals[:, 0] / np.where(size > 0, size, 1.0), 0.0)


METRIC = Measure(name="line-f1", kinds=("label",), measure=measure)
