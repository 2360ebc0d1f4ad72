"""Share of predictions that equal their reference but for white space around them, 0-100.

As CodeXGLUE's translation evaluator does it; with several references, any of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.metrics.base import Item, Measure, Measured, mean_of


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """An item counts 100 where its stripped text is a stripped reference, else 0."""
    return mean_of(
        [
            float(item.prediction.strip() in {wanted.strip() for wanted in item.references})
            for item in items
        ]
    )


METRIC = Measure(name="exact-match", kinds=("generate",), measure=measure, test="mcnemar")
