"""CodeXGLUE's corpus BLEU-4 for translated code, 0-100.

The definition of CodeXGLUE's code-to-code-trans evaluator: white-space split, case kept; matches
and possible matches of every order (the first too) plus one; the usual brevity penalty on corpus
lengths, against the shortest reference of each item. Theirs is printed with two decimals and stops
with a division by zero where all predictions are empty; ours is 0 there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.metrics._ngrams import ORDER, matches
from codeprompt.metrics.base import Array, Item, Measure, Measured, of_totals


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Corpus BLEU. Raises `DataError` where every reference is empty."""
    rows = [_statistics(item) for item in items]
    statistics = np.array(rows, dtype=np.float64)
    totals = statistics.sum(axis=0)
    if totals[-1] == 0:
        raise DataError("Every reference is empty", expected="text to compare with")
    precisions = (totals[:ORDER] + 1.0) / (totals[ORDER : 2 * ORDER] + 1.0)
    parts = {f"precision_{order + 1}": 100.0 * float(precisions[order]) for order in range(ORDER)}
    parts["brevity"] = float(_brevity(totals[None])[0])
    parts["length_ratio"] = float(totals[-2] / totals[-1])
    return of_totals(
        statistics, _bleu, ("case:mixed", "tok:none", "smooth:add1-1..4", "ref:shortest"), parts
    )


def _statistics(item: Item) -> list[int]:
    words = item.prediction.split()
    references = [reference.split() for reference in item.references]
    hits, possible = matches(words, references)
    return [*hits, *possible, len(words), min(len(reference) for reference in references)]


def _brevity(totals: Array) -> Array:
    """The penalty [R] from totals [R, 10]; nan where a resample drew only empty references."""
    found, wanted = totals[:, -2], totals[:, -1]
    short = np.exp(1.0 - wanted / np.maximum(found, 1.0))
    penalty = np.where(found > wanted, 1.0, np.where(found > 0, short, 0.0))
    return np.where(wanted > 0, penalty, np.nan)


def _bleu(totals: Array) -> Array:
    """Totals [R, 10] (hits, possible, length, reference length) to BLEU [R]."""
    precisions = (totals[:, :ORDER] + 1.0) / (totals[:, ORDER : 2 * ORDER] + 1.0)
    value: Array = 100.0 * np.exp(np.log(precisions).mean(axis=1)) * _brevity(totals)
    return value


METRIC = Measure(name="codexglue-corpus-bleu", kinds=("generate",), measure=measure)
