"""Predictions of one prompt on examples, and their scores: the engine's own path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from codeprompt.answer import Prompt, Row, answer
from codeprompt.engine.batches import plan_batches
from codeprompt.errors import DataError, UsageError
from codeprompt.metrics.base import Item, Metric
from codeprompt.registry import METRICS
from codeprompt.tasks.base import Task
from codeprompt.types import Example, Prediction, Score


def predictions(
    prompt: Prompt,
    examples: Sequence[Example],
    *,
    model: Any = None,
    on_batch: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """One prediction for each example, in their order; rows of like length share a batch.

    model: what answers, if not the prompt's own backbone. on_batch: gets the number of new answers.
    """
    lengths = [sum(map(len, example.fields.values())) for example in examples]
    out: dict[int, Prediction] = {}
    for rows in plan_batches(lengths):
        found = answer(
            prompt.plan.backbone if model is None else model,
            [prompt],
            [Row(0, examples[i].fields) for i in rows],
        )
        out.update(zip(rows, found, strict=True))
        if on_batch:
            on_batch(len(rows))
    return [out[i] for i in range(len(examples))]


def items_of(examples: Sequence[Example], found: Sequence[Prediction]) -> list[Item]:
    """Metric items of predictions and their references."""
    return [
        Item(prediction=p.text, references=(e.target,), score=p.score, id=e.id)
        for e, p in zip(examples, found, strict=True)
    ]


def dev_score(prompt: Prompt, dev: Sequence[Example], metric: str) -> float:
    """The selecting metric on the dev set, without an interval."""
    measure: Metric = METRICS.get(metric)
    items = items_of(dev, predictions(prompt, dev))
    return float(measure.score(items, positive=prompt.plan.positive, bootstrap=0).value)


def is_better(metric: str, new: float, old: float) -> bool:
    """Whether a metric's value is an improvement; an undefined one (nan) never is."""
    measure: Metric = METRICS.get(metric)
    return new > old if measure.higher_is_better else new < old


def worst(metric: str) -> float:
    """What every defined value of a metric improves upon."""
    measure: Metric = METRICS.get(metric)
    return float("-inf" if measure.higher_is_better else "inf")


def task_scores(
    task: Task, examples: Sequence[Example], items: Sequence[Item], *, bootstrap: int = 1000
) -> tuple[list[Score], list[str]]:
    """Every metric of the task with its interval; and why some of them are undefined here."""
    language = written_language(examples)
    scores, left_out = [], []
    for name in task.metrics:
        metric: Metric = METRICS.get(name)
        try:
            scores.append(
                metric.score(items, positive=task.positive, language=language, bootstrap=bootstrap)
            )
        except (DataError, UsageError) as error:  # one class only, or no language is known
            left_out.append(f"{name}: {error}")
    return scores, left_out


def written_language(examples: Sequence[Example]) -> str | None:
    """The language of what a translation writes, where all examples agree."""
    named = {example.fields.get("target_language", "") for example in examples}
    return next(iter(named)) if len(named) == 1 and "" not in named else None
