"""The values that pass between layers: frozen, plain, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["classify", "generate", "label"]
"""What a task asks for: one label, a text, or a label for every line."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set, for any task.

    fields: what a template may ask for (`code`, `language`, `path`, `name`, ...).
    target: the reference text, or the label's name; empty where there is none.
    group: rows of one group (a file, a project) never fall into two splits.
    """

    fields: Mapping[str, str]
    target: str = ""
    id: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a field stands: positions from start to end of the ids; lines: of the whole value."""

    field: str
    start: int
    end: int
    lines: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """An example in a template, as token ids within the length limit.

    ids: token ids with the backbone's special tokens; a soft slot holds the pad id.
    slots: -1 at a real token, else the index into the prompt's slot vectors; same length as ids.
    mask: positions of `{mask}`, in order.
    cut: how many tokens of the placeholders were cut to fit.
    spans: the fields' places, in order.
    """

    ids: tuple[int, ...]
    slots: tuple[int, ...]
    mask: tuple[int, ...] = ()
    cut: int = 0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    text: the generated text, the label's name, or the lines as `codeprompt.lines` writes them.
    score: probability of `positive` label (classify), of the most suspicious line (label), or mean
        token log-probability (generate).
    probabilities: label (or number of a line) to probability; empty for generation.
    """

    text: str
    score: float
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value with all it takes to repeat it.

    value: in the metric's usual unit (BLEU 0-100, accuracy 0-100, MCC -1..1).
    low, high: 95% bootstrap interval over items; nan where none was asked for.
    items: per-item values where the metric is a mean of them; paired tests need them.
    """

    metric: str
    value: float
    n: int
    signature: str
    low: float = float("nan")
    high: float = float("nan")
    parts: Mapping[str, float] = field(default_factory=dict)
    items: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints for one score."""
        out: dict[str, Any] = {
            "metric": self.metric,
            "value": self.value,
            "n": self.n,
            "signature": self.signature,
        }
        if self.low == self.low:
            out["interval"] = [self.low, self.high]
        if self.parts:
            out["parts"] = dict(self.parts)
        return out
