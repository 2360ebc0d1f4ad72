"""A copy of the input: what a translation scores that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.bench.baselines.base import Answers, Ask, Baseline
from codeprompt.types import Example, Prediction


def fit(ask: Ask) -> Answers:
    """Nothing to learn."""

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        return [Prediction(" ".join(row.fields["code"].split()), 0.0) for row in rows]

    return answer


BASELINE = Baseline(kinds=("generate",), fit=fit)
