"""What a suite asks: data sets, arms, the grid to run, and what is compared, all said beforehand.

A suite is one TOML file (`suites/smoke.toml` is the suite `smoke`; a user's is given by its path);
`load.py` reads it into these values, `expand.py` makes its cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["tokens", "text"]
Shots = int | str


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A data set, or the part of one that some arm trains on.

    path: under `--data`, absolute, or hub:ID; several are read one after the other.
    form: `tokens` where the code is joined from tokens, `text` where it is source as it stands.
    columns: field to column, as `tune --columns`. language, target_language: what rows do not say.
    only, without: field to the values that a row must, or must not, have (another project, ...).
    cut: a split that is cut into training, dev and test rows by file, in place of the data's own;
        so one project of a test split can be tuned on and tested.
    unpaired: training and dev rows without those that stand in a pair (`pairs.py`).
    optional: left out where it is not there, instead of an error. notes: known traps of this data,
        printed beside every score.
    """

    name: str
    task: str
    path: tuple[str, ...]
    form: Form = "text"
    columns: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    target_language: str = ""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cut: str = ""
    unpaired: bool = False
    optional: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """Rows to score on, fixed for all arms, shots and seeds.

    data: the cell's own where it is None. rows: drawn once from the split; 0 for all of it.
    transform: name of a change of the code (`transforms/`), applied before anything sees it.
    pairs: rows that are a function beside its fix, found in the split (`pairs.py`); half of `rows`.
    """

    name: str
    data: DataSpec | None = None
    split: str = "test"
    rows: int = 1000
    transform: str = ""
    pairs: bool = False


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One thing to be measured: a method with its settings, or a baseline without a model.

    rates: learning rates to choose from on dev (`lr` of a prompt, `backbone_lr` where weights are
        tuned); empty for the recipe's own. words: label to label words in place of the task's.
    overrides: fields of the recipe. optional: left out where the installation has no such method.
    """

    name: str
    method: str = ""
    baseline: str = ""
    backbone: str = ""
    template: str = ""
    head: str = ""
    rates: tuple[float, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A full cross of data sets, arms, shots and what is varied.

    arms: by name; `baselines` stands for every baseline that fits the task.
    vary: field of an arm (`template`, `words`, `backbone`, `options.NAME`, `overrides.NAME`) to its
        values by label. set: the same fields to one value for every arm.
    """

    data: tuple[str, ...]
    arms: tuple[str, ...]
    shots: tuple[Shots, ...]
    evaluate: tuple[str, ...] = ("test",)
    vary: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One question with all it takes to answer it.

    select: `each-seed` chooses a learning rate for every seed; `first-seed` chooses it on the first
        seed's dev rows and keeps it for the others, at a quarter of the cost.
    against: arms that every other arm is tested against; the family that Holm corrects is all
        of these in one table. pairs: further contrasts, (a, b).
    beams: 1 is greedy, 0 the task's own. isolate: a process for each cell, for its own peak memory.
    latency: also time single answers and weigh the pack. checks: also try what else must work with
        each prompt (`checks.py`). bootstrap: of the intervals over items.
    threads: of the processor, a cell; part of a cell's identity since the last digits depend on it.
    reads_test: False for suites that only explore: their scores are of dev rows.
    """

    name: str
    summary: str
    question: str
    data: Mapping[str, DataSpec]
    arms: Mapping[str, Arm]
    grid: tuple[Grid, ...]
    evaluate: Mapping[str, EvaluationSpec] = field(
        default_factory=lambda: {"test": EvaluationSpec(name="test")}
    )
    backbone: str = "builtin"
    seeds: int = 5
    recipe: str = "low-resource"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    select: Literal["each-seed", "first-seed"] = "each-seed"
    against: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    beams: int = 1
    threads: int = 1
    bootstrap: int = 1000
    isolate: bool = False
    latency: bool = False
    checks: bool = False
    reads_test: bool = True
    notes: tuple[str, ...] = ()
