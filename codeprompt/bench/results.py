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
from typing import Literal

from codeprompt.bench.records import (
    VERSION,
    CellResult,
    Cost,
    Drawn,
    Evaluation,
    Interval,
    ItemRecord,
    RowRecord,
    ScoreRecord,
    Trial,
)
from codeprompt.bench.suite import Suite

__all__ = [
    "VERSION",
    "CellResult",
    "Contrast",
    "Cost",
    "DataReport",
    "Drawn",
    "Estimate",
    "Evaluation",
    "Interval",
    "ItemRecord",
    "Overlaps",
    "Published",
    "RowRecord",
    "Run",
    "ScoreRecord",
    "Table",
    "TableRow",
    "Tables",
    "Trial",
]


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
    checks: of the first seed (`CellResult`).
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
    checks: Mapping[str, str] = field(default_factory=dict)
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
    relative: difference over a's mean.
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
    relative: float | None = None

    @property
    def one_seed(self) -> bool:
        """Whether shots were drawn once alone: the verdict is on these runs, not on the arms."""
        return self.p_seeds is None and self.shots != 0


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
    changed: rows that the evaluation's transformation changed.
    """

    title: str
    task: str
    data: str
    evaluation: str
    form: Literal["tokens", "text"]
    backbone: str
    n: int
    changed: int = 0
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
