"""Share of right labels, 0-100.

Labels are compared as stripped text. Agrees with CodeXGLUE's defect evaluator, which prints it as a
fraction.
"""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.metrics._labels import predicted, right
from codeprompt.metrics.base import Item, Measure, Measured, mean_of


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """An item counts 100 where its label is the reference's, else 0."""
    pairs = zip(predicted(items), right(items), strict=True)
    return mean_of([float(found == wanted) for found, wanted in pairs])


METRIC = Measure(name="accuracy", kinds=("classify",), measure=measure, test="mcnemar")
