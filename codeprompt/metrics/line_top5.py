"""Share of functions with a line to blame among their 5 most suspicious lines, as a percentage."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.metrics._lines import top
from codeprompt.metrics.base import Item, Measure, Measured, mean_of

K = 5


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """Top-5 accuracy; of equal scores the earlier line comes first."""
    return mean_of([top(item, K) for item in items], (f"k:{K}",))


METRIC = Measure(name="line-top5", kinds=("label",), measure=measure, test="mcnemar")
