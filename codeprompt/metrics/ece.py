"""Expected calibration error of the positive label's probability, 0-1, in 15 equal-width bins.

ECE = sum over bins of |sum of p in the bin - positives in the bin| / N: Guo et al. 2017 (section 2)
with 15 bins ((m-1)/15, m/15], 0 itself in the first. Where they bin the winning label's confidence,
this bins p(positive), which for two labels also sees a model that is sure of the wrong side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.metrics._labels import positive_of, right
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals

BINS = 15


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """ECE of the scores. Raises `DataError` for a score outside 0..1."""
    label = positive_of(items, positive, "ece")
    chance = np.array([item.score for item in items], dtype=np.float64)
    if chance.min() < 0.0 or chance.max() > 1.0:
        raise DataError(
            f"The scores run from {chance.min():g} to {chance.max():g}",
            expected="probabilities between 0 and 1: ece measures calibration",
        )
    truth = np.array([wanted == label for wanted in right(items)], dtype=np.float64)
    place = np.clip(np.ceil(chance * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.zeros((len(items), BINS + 1))
    gaps[np.arange(len(items)), place] = chance - truth
    gaps[:, BINS] = 1.0
    parts = {"mean_probability": float(chance.mean()), "positive_rate": float(truth.mean())}
    return of_totals(gaps, _ece, (f"pos:{label}", f"bins:{BINS}"), parts)


def _ece(totals: Array) -> Array:
    """Per-bin gaps and count [R, BINS + 1] to ECE [R]."""
    value: Array = np.abs(totals[:, :BINS]).sum(axis=1) / totals[:, BINS]
    return value


METRIC = Measure(
    name="ece",
    kinds=("classify",),
    measure=measure,
    best=0.0,
    higher_is_better=False,
    needs_score=True,
)
