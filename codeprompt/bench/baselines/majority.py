"""The commonest label of the shots, for every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from codeprompt.bench.baselines.base import Answers, Ask, Baseline, labelled
from codeprompt.types import Example, Prediction


def fit(ask: Ask) -> Answers:
    """The label, with the share of the positive one as every row's probability.

    Of equally common labels the task's first (`clean`).
    """
    counts = Counter(row.target for row in ask.train)
    label = max(ask.task.labels, key=lambda name: counts[name])
    share = counts[ask.task.positive or label] / max(1, sum(counts.values()))

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        return [labelled(ask.task, label, share) for _ in rows]

    return answer


BASELINE = Baseline(kinds=("classify",), fit=fit, learns=True)
