"""Character n-gram F-score (chrF2) by sacrebleu with its own signature, 0-100 (Popovic 2015)."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.metrics import _sacre
from codeprompt.metrics.base import Item, Measure, Measured


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Corpus chrF2: character orders 1-6, no words, white space left out."""
    from sacrebleu.metrics.chrf import CHRF

    return _sacre.measure(CHRF(), items)


METRIC = Measure(name="chrf", kinds=("generate",), measure=measure)
