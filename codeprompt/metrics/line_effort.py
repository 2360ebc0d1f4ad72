"""Lines to blame found in the most suspicious tenth of all lines, of as many as can be: percent.

The effort-aware view (Kamei et al. 2013; LineVul, Fu & Tantithamthavorn 2022, reads 1% and 20%):
lines of all functions are ranked together, a tenth of them is read. 100 is what a perfect ranking
finds with the same reading. Of equal scores an equal share is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeprompt.metrics._lines import check_any, scored
from codeprompt.metrics.base import Array, Item, Measure, Measured

SHARE = 0.1
BLOCK = 64
"""Resamples at a time: each holds a number for every line."""


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Raises `DataError` where there is nothing to find."""
    found = [scored(item) for item in items]
    check_any([truth for _, truth in found], "line-effort")
    scores = np.concatenate([s for s, _ in found])
    truth = np.concatenate([t for _, t in found]).astype(np.float64)
    owner = np.repeat(np.arange(len(found)), [len(s) for s, _ in found])
    order = np.argsort(-scores, kind="stable")
    truth, owner = truth[order], owner[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of each run of equal scores

    def share(draws: Array) -> Array:
        blocks = [draws[at : at + BLOCK] for at in range(0, len(draws), BLOCK)]
        return np.concatenate([_found(block[:, owner], truth, starts) for block in blocks])

    value = float(share(np.ones((1, len(items))))[0])
    return Measured(value=value, resampled=share, tags=(f"share:{SHARE}",))


def _found(weights: Array, truth: Array, starts: NDArray[np.intp]) -> Array:
    """Weights of lines [R,N], most suspicious first -> percentages [R]."""
    read = np.add.reduceat(weights, starts, axis=1)
    hits = np.add.reduceat(weights * truth, starts, axis=1)
    budget = SHARE * read.sum(axis=1, keepdims=True)
    taken = np.clip(budget - (np.cumsum(read, axis=1) - read), 0.0, read)
    part = np.where(read > 0, taken / np.where(read > 0, read, 1.0), 0.0)
    most = np.minimum(budget[:, 0], hits.sum(axis=1))
    value = 100.0 * (part * hits).sum(axis=1) / np.where(most > 0, most, 1.0)
    return np.where(most > 0, value, np.nan)


METRIC = Measure(name="line-effort", kinds=("label",), measure=measure)
