"""BLEU by sacrebleu with its defaults and its own signature, 0-100 (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.metrics import _sacre
from codeprompt.metrics.base import Item, Measure, Measured


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Corpus BLEU: 13a tokens, exponential smoothing."""
    from sacrebleu.metrics.bleu import BLEU

    return _sacre.measure(
        BLEU(force=True), items
    )  # force: tokenised text is usual here, no warning


METRIC = Measure(name="sacrebleu", kinds=("generate",), measure=measure)
