"""What a baseline is: a function from rows to answers, and whether it learns from its shots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codeprompt.errors import UsageError
from codeprompt.metrics.base import Item, Metric
from codeprompt.registry import METRICS
from codeprompt.tasks.base import Task
from codeprompt.types import Example, Prediction


@dataclass(frozen=True)
class Ask:
    """train, dev: the rows that a tuned arm of the same seed sees. seed: of anything random."""

    task: Task
    train: Sequence[Example]
    dev: Sequence[Example]
    seed: int = 0


Answers = Callable[[Sequence[Example]], list[Prediction]]


@dataclass(frozen=True)
class Baseline:
    """A row of the table that no model made.

    tasks: whose names it fits; () for every task of one of `kinds`. learns: whether it looks at its
    shots; else it is run once. fit: from what may be seen to a function that answers any rows.
    """

    kinds: tuple[str, ...]
    fit: Callable[[Ask], Answers]
    tasks: tuple[str, ...] = ()
    learns: bool = False

    def fits(self, task: Task) -> bool:
        """Whether the baseline has a meaning for the task."""
        return task.kind in self.kinds and (not self.tasks or task.name in self.tasks)

    def answers(self, ask: Ask) -> Answers:
        """A function that answers rows. Raises `UsageError` where it makes no sense."""
        if not self.fits(ask.task):
            wanted = " or ".join(self.tasks or self.kinds)
            raise UsageError(f"This baseline is no answer to '{ask.task.name}'", expected=wanted)
        return self.fit(ask)


def labelled(task: Task, label: str, probability: float | None = None) -> Prediction:
    """A label as a prediction. probability: of the positive label; 1 or 0 where it is not known."""
    if probability is None:
        probability = float(label == task.positive)
    return Prediction(label, probability)


def value(metric: str, texts: Sequence[str], rows: Sequence[Example]) -> float:
    """A metric of texts against rows' targets, without an interval."""
    measure: Metric = METRICS.get(metric)
    items = [
        Item(prediction=text, references=(row.target,), id=row.id)
        for text, row in zip(texts, rows, strict=True)
    ]
    return measure.measured(items).value
