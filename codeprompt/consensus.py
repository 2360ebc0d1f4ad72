"""Of several answers the one that agrees most with the others: minimum Bayes risk.

Eikema & Aziz 2020 (Is MAP Decoding All You Need?), section 5; Suzgun et al. 2023 (Follow the Wisdom
of the Crowd): argmax_i of the mean utility u(y_i, y_j) over the other candidates, which stand for
what the model believes. The utility is a metric of the task. Inspired by diverse chains of thought
(Puerto et al. 2024, DCoT), for models that do not reason in text: it is not their method.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.metrics.base import Item, Metric
from codeprompt.registry import METRICS


def agreed(texts: Sequence[str], utility: str) -> int:
    """Which text has the best mean utility against the others; of equals the first.

    utility: a metric's name. Candidates that say the same count as often as they came.
    """
    metric: Metric = METRICS.get(utility)
    sign = 1.0 if metric.higher_is_better else -1.0

    @functools.cache
    def value(one: str, other: str) -> float:
        found = float(metric.score([Item(one, (other,))], bootstrap=0).value)
        return sign * found if found == found else float("-inf")

    means = [
        sum(value(one, other) for j, other in enumerate(texts) if j != i)
        for i, one in enumerate(texts)
    ]
    return max(range(len(texts)), key=means.__getitem__)


def chosen(
    hypotheses: Sequence[Hypothesis], decoding: Decoding, text: Callable[[Sequence[int]], str]
) -> Hypothesis:
    """The answer among the candidates: the first, or the one the decoding's `consensus` names."""
    if not decoding.consensus or len(hypotheses) < 2:
        return hypotheses[0]
    order = sorted(hypotheses, key=lambda h: -h.score)
    return order[agreed([text(h.ids).strip() for h in order], decoding.consensus)]
