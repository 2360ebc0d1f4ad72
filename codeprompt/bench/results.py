"""What a benchmark writes: one JSON a cell, and a folder that holds a whole run.

A *cell* is one arm with one seed on one data set: trained on its shots at each of its learning
rates, the best on dev then scored once on each evaluation. Its configuration (`Cell`, in `cell.py`)
is one JSON file whose hash names everything that the cell writes.

    FOLDER/
      run.json              `Run`: the suite as it was asked for, and the cells it is made of
      cells/HASH.json       `Cell`: one configuration
      results/HASH.json     `CellResult`: what it gave, or why it failed
      items/HASH.jsonl.xz   `ItemRecord` a line: every prediction of every evaluation
      rows/KEY.jsonl.xz     `RowRecord` a line: the rows of an evaluation (`Evaluation.rows_key`)
      data/NAME.json        `DataReport`: duplicates within, overlap between the parts, traps
      tables.json           `Tables`: means, intervals, tests; made anew from results at every end

`rows/` repeats the data itself, whose licence may not allow passing it on: a `.gitignore` in the
folder keeps it out of repositories, and readers must do without (`read_rows` gives nothing then).
Everything is written whole or not at all, so a folder may be read while a run fills it: a result
that is not there has not come yet. `store.RunFolder` opens one; a report needs no more than

    folder = RunFolder(path)
    run, tables = folder.run(), folder.tables()
    for result in folder.results(): ...            # CellResult, in the order of `run.cells`
    items = folder.items(result)["test"]           # ItemRecords, in the order of the rows
    rows = folder.rows(result.evaluations[0])      # RowRecord by id: code, reference

Values are in the metric's own unit (BLEU and accuracy 0-100, MCC -1..1, ECE as its metric says).
None stands where a value is undefined or was not measured; no number is ever made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codeprompt.bench.cell import Cell
from codeprompt.bench.suite import Suite

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
    step_ms: mean of the chosen trial, its dev evaluations included; latency_ms: median of one
        answer at batch 1. peak_memory_mb: of the process (10^6 bytes); its own where the suite
        isolates cells, else at least that of the largest cell it ran before.
    """

    parameters: int = 0
    backbone_parameters: int = 0
    storage_bytes: int | None = None
    train_seconds: float = 0.0
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


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """How much of `part` stands in `other`, in rows of `part`; `near` includes the exact ones."""

    part: str
    other: str
    rows: int
    exact: int
    near: int
    threshold: float


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What is to be known of a data set before its scores are believed.

    form: `tokens` where the code is joined from tokens, `text` where it is the source as it stands;
        scores on the two are never in one table.
    parts: rows of the `train` and `dev` pools and of every evaluation. fingerprints: of the same.
    inner: near-duplicates within each part. across: between parts.
    overlapping: evaluation to the ids of its rows that stand in a training or dev pool (`exact`,
        `near`); what `without_overlap` leaves out.
    both_labels: texts that carry more than one label, white space apart (classify only).
    base_rate: share of the positive label in test (classify only).
    notes: known traps of this data, one sentence each.
    """

    version: int = VERSION
    name: str
    task: str
    form: Literal["tokens", "text"]
    parts: Mapping[str, int]
    fingerprints: Mapping[str, str]
    inner: Mapping[str, int]
    across: tuple[Overlaps, ...]
    overlapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    both_labels: int | None = None
    base_rate: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it was asked for.

    suite: with the changes that the command line made (seeds, backbone). cells: hashes, in order.
    """

    version: int = VERSION
    suite: Suite
    cells: tuple[str, ...]
    created: str
    codeprompt: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds. interval: 95% t interval over seeds; None for a single one.

    values: one a seed, in the order of `TableRow.seeds`; None where a seed's is undefined (then
    the mean is over the others).
    """

    mean: float | None
    interval: Interval | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One arm at one number of shots, over its seeds.

    kind: `baseline` needs no model; `untrained` is a model as it comes; `frozen` tunes a prompt
        alone, `weights` the backbone too. variant: what a grid varied beside (`length=5`), or "".
    metrics, without_overlap: metric to estimate. rates: what dev chose, a seed each.
    after_change, before_change: on the rows that a transformation changed (`Evaluation`).
    failed: seeds whose cell failed, with its error. missing: seeds not run yet.
    """

    arm: str
    kind: Literal["baseline", "untrained", "frozen", "weights"]
    shots: int | str
    variant: str
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Estimate]
    without_overlap: Mapping[str, Estimate] = field(default_factory=dict)
    after_change: Mapping[str, Estimate] = field(default_factory=dict)
    before_change: Mapping[str, Estimate] = field(default_factory=dict)
    dev: Estimate | None = None
    rates: tuple[float | None, ...] = ()
    distinct: float | None = None
    cost: Cost = field(default_factory=Cost)
    failed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Arm, and variant where there is one: unique among the rows of one number of shots."""
        return f"{self.arm} ({self.variant})" if self.variant else self.arm

    @property
    def missing_all(self) -> bool:
        """Whether no seed has ended well."""
        return not self.cells


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two rows of one table under its first metric; a, b: `TableRow.name`.

    difference: mean of b - a over seeds; interval: 95%, over items (both rows on the same
    resampled items). p_items: paired bootstrap or McNemar over items. p_seeds: paired t test over
    seeds that share their shots; None where neither row has two. p: the larger of the two, so that
    a difference counts only if it holds over items and over seeds. p_holm: corrected over all
    contrasts of the table. winner: by p_holm at 5%; `tie` is all that can be said otherwise.
    """

    a: str
    b: str
    shots: int | str
    metric: str
    difference: float
    interval: Interval
    p_items: float
    p_seeds: float | None
    p: float
    p_holm: float
    winner: Literal["a", "b", "tie"]
    test: str
    seeds: int
    n: int


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure from the literature: other runs, often another split or backbone; never tested."""

    task: str
    data: str
    arm: str
    backbone: str
    metric: str
    value: float
    source: str
    shots: int | str = 0
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows that may stand beside each other: one task, data set and evaluation.

    metrics: the first one is tested and sorted by. higher_is_better: of each.
    data: name of the `DataReport`. rows: by shots, then as the suite lists its arms.
    """

    title: str
    task: str
    data: str
    evaluation: str
    form: Literal["tokens", "text"]
    backbone: str
    n: int
    metrics: tuple[str, ...]
    higher_is_better: Mapping[str, bool]
    signatures: Mapping[str, str]
    rows: tuple[TableRow, ...]
    contrasts: tuple[Contrast, ...] = ()
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All tables of a run. done, failed, missing: cells."""

    version: int = VERSION
    suite: str
    question: str
    tables: tuple[Table, ...]
    done: int
    failed: int
    missing: int
    made: str
