"""What a classifying pack learns from data without gradients: its prior and its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from codeprompt.answer import Prompt
from codeprompt.metrics.base import Item
from codeprompt.passes import passed
from codeprompt.template import Field
from codeprompt.types import Example
from codeprompt.verbalizers import CONTENT_FREE, log_prior


@torch.no_grad()
def label_prior(prompt: Prompt, example: Example) -> tuple[float, ...]:
    """Log-probability of each label on inputs without content; [C]."""
    plan = replace(prompt.plan, prior=None)
    rows = [
        plan.render({**example.fields, **dict.fromkeys(_content(prompt), text)})
        for text in CONTENT_FREE
    ]
    return log_prior(passed(plan, prompt.injection, rows).label_scores(plan))


def threshold(items: Sequence[Item], positive: str) -> float:
    """The probability from which on an item counts as positive: the best MCC on the dev rows.

    Ties go to the highest threshold, the one with the fewest warnings.
    """
    scores = np.array([item.score for item in items], dtype=float)
    truth = np.array([item.references[0] == positive for item in items])
    best, chosen = -2.0, 0.5
    for cut in np.unique(scores)[::-1]:
        said = scores >= cut
        a, b = float((said & truth).sum()), float((said & ~truth).sum())
        c, d = float((~said & truth).sum()), float((~said & ~truth).sum())
        product = (a + b) * (a + c) * (d + b) * (d + c)
        value = (a * d - b * c) / product**0.5 if product else 0.0
        if value > best:
            best, chosen = value, float(cut)
    return chosen


def _content(prompt: Prompt) -> tuple[str, ...]:
    return tuple(s.name for s in prompt.plan.template.segments if isinstance(s, Field) and s.cut)
