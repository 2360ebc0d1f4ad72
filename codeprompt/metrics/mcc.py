"""Matthews correlation coefficient, -1..1, for two labels or more.

The multi-class form (Gorodkin 2004); 0 where every prediction is the same label, as in
scikit-learn. Undefined, and refused, where the references hold one label only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.metrics._labels import counted, per_class, right
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """MCC over all labels. Raises `DataError` where the references hold one label only."""
    if len(set(right(items))) < 2:
        raise DataError(
            f"MCC is undefined on one class: the references are {counted(right(items))}",
            expected="two labels or more among the references",
        )
    _, wanted, found = per_class(items)
    hits = (wanted * found).sum(axis=1, keepdims=True)
    return of_totals(np.hstack([hits, found, wanted]), _mcc)


def _mcc(totals: Array) -> Array:
    """Totals [R, 1 + 2C] to MCC [R]."""
    hits = totals[:, 0]
    found, wanted = np.split(totals[:, 1:], 2, axis=1)
    n = wanted.sum(axis=1)
    joint = hits * n - (found * wanted).sum(axis=1)
    spread_found = n**2 - (found**2).sum(axis=1)
    spread_wanted = n**2 - (wanted**2).sum(axis=1)
    size = np.sqrt(spread_found * spread_wanted)
    value = np.where(size > 0, joint / np.where(size > 0, size, 1.0), 0.0)
    return np.where(spread_wanted > 0, value, np.nan)


METRIC = Measure(name="mcc", kinds=("classify",), measure=measure, best=1.0)
