"""sacrebleu's corpus metrics, measured once per item and summed as sacrebleu's own tests do.

The per-item statistics come from the calls that `sacrebleu.significance` uses; they are not part of
its documented interface, so a test holds our values to `corpus_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from codeprompt.metrics.base import Array, Item, Measured, of_totals


def measure(metric: Any, items: Sequence[Item]) -> Measured:
    """A sacrebleu metric (`BLEU`, `CHRF`) on items with any number of references."""
    streams = [list(stream) for stream in zip_longest(*(item.references for item in items))]
    rows = metric._extract_corpus_statistics([item.prediction for item in items], streams)

    def value(totals: Array) -> Array:
        return np.array(
            [
                metric._compute_score_from_stats(row).score
                for row in totals.astype(np.int64).tolist()
            ]
        )

    return of_totals(np.array(rows, dtype=np.float64), value, (str(metric.get_signature()),))
