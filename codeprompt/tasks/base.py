"""A task is a declaration that training, engine, benchmarks, service and editor all share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from codeprompt.data.base import Columns
from codeprompt.types import Kind


@dataclass(frozen=True)
class Task:
    """What there is to know about a task without a model.

    columns: which column names of a data set hold its fields and its target.
    templates: the hard template by backbone family.
    metrics: names; the first selects on dev.
    labels: label to label words by family; the order of labels is that of the classes. Empty where
        the task generates.
    positive: the label whose probability is the item's score.
    channel: by family, an instruction of a pre-training that asks for the source of an `{answer}`.
    source_length, target_length: tokens; beams: of the final decoding.
    """

    name: str
    summary: str
    kind: Kind
    columns: Columns
    templates: Mapping[str, str]
    metrics: tuple[str, ...]
    source_length: int
    target_length: int = 1
    beams: int = 1
    label_words: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    positive: str | None = None
    channel: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in order; empty where the task generates."""
        return tuple(next(iter(self.label_words.values()), {}))
