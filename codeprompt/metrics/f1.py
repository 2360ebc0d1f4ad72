"""F1 of the positive label (macro-averaged where none is named), with precision and recall, 0-100.

The positive label is the one asked for, or the usual name for it (1, true, vulnerable, ...) where
there are two labels. Without one: the unweighted mean over all labels of references and
predictions. A label never predicted has precision 0, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.metrics._labels import counted, per_class, positive_or_none, right
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Precision, recall and F1. Raises `DataError` where no reference is positive."""
    labels, wanted, found = per_class(items)
    label = positive_or_none(items, positive)
    if label is not None:
        place = labels.index(label)
        wanted, found = wanted[:, place : place + 1], found[:, place : place + 1]
        if not wanted.any():
            raise DataError(
                f"F1 of '{label}' is undefined: the references are {counted(right(items))}",
                expected=f"one reference '{label}' or more",
            )
    statistics = np.hstack([wanted * found, found, wanted])
    hits, guesses, truths = np.split(statistics.sum(axis=0), 3)
    parts = {
        "precision": 100.0 * float(_ratio(hits, guesses).mean()),
        "recall": 100.0 * float(_ratio(hits, truths).mean()),
    }
    tag = "avg:macro" if label is None else f"pos:{label}"
    return of_totals(statistics, _f1, (tag,), parts)


def _f1(totals: Array) -> Array:
    """Totals [R, 3C] to F1 [R]; labels that a resample did not draw do not count."""
    hits, guesses, truths = np.split(totals, 3, axis=1)
    drawn = guesses + truths
    scores = np.where(drawn > 0, 2.0 * hits / np.maximum(drawn, 1.0), 0.0)
    classes = (drawn > 0).sum(axis=1)
    return np.where(classes > 0, 100.0 * scores.sum(axis=1) / np.maximum(classes, 1), np.nan)


def _ratio(part: Array, whole: Array) -> Array:
    return np.where(whole > 0, part / np.maximum(whole, 1.0), 0.0)


METRIC = Measure(name="f1", kinds=("classify",), measure=measure)
