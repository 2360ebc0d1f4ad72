"""What one cell writes: its scores, its trials, its cost, its predictions. See `results.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codeprompt.bench.cell import Cell

VERSION = 1
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ScoreRecord:
    """One metric on one evaluation of one cell.

    interval: 95% bootstrap interval over items; None where none was asked for.
    parts: what the value is made of, e.g. CodeBLEU's four.
    """

    metric: str
    value: float | None
    n: int
    signature: str
    interval: Interval | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The chosen prompt on one set of rows, read once.

    name: `test`, or what the suite calls another set (`qemu`, `rename`, ...).
    transform: how the code was changed first; "" for not at all. changed: rows that it changed.
    after_change, before_change: the same metrics on the changed rows alone, after and before the
        change; empty without one, or where the suite does not evaluate the same rows unchanged.
    rows_key: of the file under `rows/`; equal keys are equal rows in equal order.
    fingerprint: of the rows as they were answered.
    without_overlap: the same metrics on the rows that stand in no training or dev pool, not even
        nearly; empty where no row overlaps. overlapping: how many rows that leaves out.
    left_out: metrics of the task that these rows leave undefined, and why.
    distinct: share of different answers among all.
    """

    name: str
    n: int
    rows_key: str
    fingerprint: str
    scores: tuple[ScoreRecord, ...]
    without_overlap: tuple[ScoreRecord, ...] = ()
    overlapping: int = 0
    left_out: tuple[str, ...] = ()
    distinct: float = 0.0
    transform: str = ""
    changed: int = 0
    after_change: tuple[ScoreRecord, ...] = ()
    before_change: tuple[ScoreRecord, ...] = ()
    seconds: float = 0.0

    def value(self, metric: str) -> float | None:
        """A metric's value; None where it was left out."""
        return next((score.value for score in self.scores if score.metric == metric), None)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run at one learning rate; the test rows are not looked at.

    rate: of the prompt, or of the weights where those are tuned; None where nothing is trained or
        the recipe's own is taken. dev: the selecting metric. dev_log_prob: mean log-probability of
        a dev token or label, the smoother of the two.
    history: step, mean loss since the last evaluation, dev score.
    error: why the run could not be ended (it diverged); such a trial is never chosen.
    """

    rate: float | None
    dev: float | None
    dev_log_prob: float | None = None
    steps: int = 0
    best_step: int = 0
    seconds: float = 0.0
    history: tuple[Mapping[str, float], ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the chosen trial and the evaluations cost; seconds are of the wall.

    parameters: trained. backbone_parameters: of the whole backbone.
    storage_bytes: of the pack on disk that keeps one such prompt (weights: of one such backbone).
    best_step: of the chosen trial, when dev was best. step_ms: mean of the chosen trial, its dev
        evaluations included; latency_ms: median of one answer at batch 1.
    peak_memory_mb: of the process (10^6 bytes); its own where the suite isolates cells, else at
        least that of the largest cell it ran before.
    """

    parameters: int = 0
    backbone_parameters: int = 0
    storage_bytes: int | None = None
    train_seconds: float = 0.0
    best_step: float | None = None
    step_ms: float | None = None
    rows_per_second: float | None = None
    latency_ms: float | None = None
    peak_memory_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The rows a cell trained and selected on.

    overlap: shots of which an equal or near-equal text (Jaccard >= 0.8) stands in the first
    evaluation's rows.
    """

    train: int
    dev: int
    train_fingerprint: str
    dev_fingerprint: str
    overlap: int = 0


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell gave. `status` is `failed` where `error` says why, and most else is empty.

    chosen: index of the trial that was best on dev; None for a baseline and for a failed cell.
    evaluations: in the order of the configuration's; the first one is the main one.
    recipe: as it was resolved, every setting by name; empty for a baseline.
    checks: what else works with the prompt (`checks.py`), where the suite asks.
    environment: versions, processor, threads: all that timing and the last digits depend on.
    """

    version: int = VERSION
    hash: str
    config: Cell
    status: Literal["ok", "failed"]
    error: str = ""
    trials: tuple[Trial, ...] = ()
    chosen: int | None = None
    evaluations: tuple[Evaluation, ...] = ()
    drawn: Drawn | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    checks: Mapping[str, str] = field(default_factory=dict)
    backbone: str = ""
    backbone_hash: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """The learning rate that dev chose."""
        return None if self.chosen is None else self.trials[self.chosen].rate

    @property
    def dev(self) -> float | None:
        """The dev score of the chosen trial."""
        return None if self.chosen is None else self.trials[self.chosen].dev


@dataclass(frozen=True, kw_only=True)
class ItemRecord:
    """One prediction. score: probability of the positive label, or mean token log-probability."""

    evaluation: str
    id: str
    prediction: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class RowRecord:
    """One row of an evaluation, as it was answered.

    overlaps: `exact` or `near` where it stands in a training or dev pool, else "".
    """

    id: str
    reference: str
    code: str
    fields: Mapping[str, str] = field(default_factory=dict)
    overlaps: str = ""
