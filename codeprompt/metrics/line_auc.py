"""Area under the ROC curve over the lines of each function, 0-1, averaged over functions.

How often a line to blame is ranked above another of the same function; equal scores count half. A
function without a line to blame, or with nothing else, is left out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeprompt.metrics._lines import check_any, scored
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """The mean area. Raises `DataError` where it is undefined for every function."""
    found = [scored(item) for item in items]
    check_any([truth for _, truth in found], "line-auc")
    return of_totals(np.array([_area(scores, truth) for scores, truth in found]), _mean)


def _area(scores: Array, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """(area, 1), or (0, 0) where it is undefined."""
    if not truth.any() or truth.all():
        return 0.0, 0.0
    gap = scores[truth][:, None] - scores[~truth][None, :]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean()), 1.0


def _mean(totals: Array) -> Array:
    count = totals[:, 1]
    return np.where(count > 0, totals[:, 0] / np.maximum(count, 1.0), np.nan)


METRIC = Measure(name="line-auc", kinds=("label",), measure=measure, best=1.0)
