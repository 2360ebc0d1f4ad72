"""Area under the ROC curve, 0-1: how often a positive item scores above a negative one.

The Mann-Whitney form; equal scores count half. Needs each item's probability of the positive label
(any score that ranks will do). Undefined, and refused, where the references hold one class only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.metrics._labels import counted, positive_of, right
from codeprompt.metrics.base import Array, Item, Measure, Measured


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """ROC-AUC of the scores. Raises `DataError` where the references hold one class only."""
    references = right(items)
    if len(set(references)) < 2:
        raise DataError(
            f"ROC-AUC is undefined on one class: the references are {counted(references)}",
            expected="positive and negative references",
        )
    label = positive_of(items, positive, "roc-auc")
    truth = np.array([wanted == label for wanted in references], dtype=np.float64)
    if not truth.any():
        raise DataError(
            f"ROC-AUC is undefined: no reference is '{label}', they are {counted(references)}"
        )
    scores = np.array([item.score for item in items], dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of equal scores
    truth = truth[order]

    def area(draws: Array) -> Array:
        drawn = draws[:, order]
        above = np.add.reduceat(drawn * truth, starts, axis=1)
        beside = np.add.reduceat(drawn * (1.0 - truth), starts, axis=1)
        below = np.cumsum(beside, axis=1) - beside
        pairs = above.sum(axis=1) * beside.sum(axis=1)
        won = (above * (below + 0.5 * beside)).sum(axis=1)
        return np.where(pairs > 0, won / np.maximum(pairs, 1.0), np.nan)

    value = float(area(np.ones((1, len(items))))[0])
    return Measured(value=value, resampled=area, tags=(f"pos:{label}",))


METRIC = Measure(name="roc-auc", kinds=("classify",), measure=measure, best=1.0, needs_score=True)
