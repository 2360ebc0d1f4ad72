"""Results folders for the tests of the report: real tasks, metrics, tables and tests.

Only the answers are made up: what was asked with some words lost, the fewer the more shots an arm
has, so that a report has something to show in every place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from codeprompt.bench.cell import Cell
from codeprompt.bench.expand import expand
from codeprompt.bench.results import (
    CellResult,
    Cost,
    DataReport,
    Drawn,
    Evaluation,
    ItemRecord,
    Overlaps,
    RowRecord,
    Run,
    ScoreRecord,
    Trial,
)
from codeprompt.bench.store import RunFolder
from codeprompt.bench.suite import Arm, DataSpec, EvaluationSpec, Grid, Suite
from codeprompt.bench.tables import make_tables
from codeprompt.metrics.base import Item, score_all
from codeprompt.registry import TASKS

TEXT = "return the list of nodes in graph for each edge with weight and name of a file"
WORDS = TEXT.split()
METRICS = {
    "summarize": ["codexglue-sentence-bleu", "chrf"],
    "defect": ["accuracy", "f1", "mcc", "roc-auc", "ece"],
}
SKILL = {"constant": 0.05, "copy": 0.15, "hard": 0.3, "soft": 0.42, "lora": 0.42, "full": 0.36}
SKILL["wise"] = SKILL["full"]
ROWS = 40
SHOTS = (16, 64, 256)


def suite(
    task: str = "summarize", seeds: int = 3, evaluations: tuple[str, ...] = ("test",)
) -> Suite:
    """A suite over every kind of arm; `wise` varies alpha."""
    return Suite(
        name="low-resource",
        summary="small",
        question="Does a tuned prompt beat fine-tuning where data is scarce?",
        data={"graphs": DataSpec(name="graphs", task=task, path=("graphs",), form="text")},
        arms={
            "constant": Arm(name="constant", baseline="constant"),
            "hard": Arm(name="hard", method="hard"),
            "soft": Arm(name="soft", method="soft", rates=(0.01, 0.03)),
            "lora": Arm(name="lora", method="lora", rates=(0.001,)),
            "full": Arm(name="full", method="full", rates=(0.0001,)),
            "wise": Arm(name="wise", method="wise-ft"),
        },
        grid=(
            Grid(
                data=("graphs",),
                arms=("constant", "hard", "soft", "lora", "full"),
                shots=SHOTS,
                evaluate=evaluations,
            ),
            Grid(
                data=("graphs",),
                arms=("wise",),
                shots=(64,),
                evaluate=evaluations,
                vary={"options.alpha": {label: float(label) for label in ("0", "0.5", "1")}},
            ),
        ),
        evaluate={name: EvaluationSpec(name=name, rows=ROWS) for name in evaluations},
        seeds=seeds,
        against=("constant", "full"),
        notes=("Made for the tests of the report.",),
    )


def make_run(
    path: Path,
    wanted: Suite | None = None,
    *,
    skill: Callable[[Cell, float], float] = lambda cell, usual: usual,
    fails: Callable[[Cell], bool] = lambda cell: False,
    rows: bool = True,
    skips: Callable[[Cell], bool] = lambda cell: False,
) -> RunFolder:
    """Fill a folder. skill: share of words (labels) right, from the arm's usual share."""
    wanted = wanted or suite()
    folder, cells = RunFolder(path), expand(wanted)
    run = Run(
        suite=wanted,
        cells=tuple(c.hash for c in cells),
        created="2026-11-20T12:00:00Z",
        codeprompt="0.1.0",
    )
    folder.begin(run, cells)
    asked = {name: _rows(wanted, name) for name in wanted.evaluate}
    for cell in cells:
        if skips(cell):
            continue
        if fails(cell):
            folder.write_result(
                CellResult(
                    hash=cell.hash, config=cell, status="failed", error="Loss is <nan> at step 3."
                )
            )
            continue
        _answer(folder, cell, asked, skill)
    for name, own in asked.items():
        if rows:
            folder.write_rows(f"rows-{name}", own)
    folder.write_data_report(
        DataReport(
            name="graphs",
            task=cells[0].task,
            form="text",
            parts={"train": 900, "dev": 100, "test": ROWS},
            fingerprints={"train": "a" * 64, "dev": "b" * 64, "test": "c" * 64},
            inner={"train": 7, "dev": 0, "test": 1},
            across=(
                Overlaps(part="test", other="train", rows=ROWS, exact=1, near=3, threshold=0.8),
            ),
            notes=("Functions of one package.",),
        )
    )
    folder.write_tables(make_tables(folder))
    return folder


def _rows(wanted: Suite, name: str) -> list[RowRecord]:
    draw = random.Random(f"rows {name}")
    out = []
    for place in range(ROWS):
        words = draw.choices(WORDS, k=draw.randint(5, 12))
        task = wanted.data["graphs"].task
        reference = " ".join(words) if task == "summarize" else draw.choice(["clean", "defective"])
        code = "def f_{0}(graph):\n    if graph < {0} and graph > 0:\n        return graph & {0}\n"
        out.append(
            RowRecord(
                id=f"{name}/{place}",
                reference=reference,
                code=code.format(place),
                overlaps="near" if place == 3 else "",
            )
        )
    return out


def _answer(
    folder: RunFolder,
    cell: Cell,
    asked: dict[str, list[RowRecord]],
    skill: Callable[[Cell, float], float],
) -> None:
    task = TASKS.get(cell.task)
    shots = cell.shots if isinstance(cell.shots, int) else 9
    share = SKILL[cell.arm] + (0.05 * shots.bit_length() if cell.rates or cell.options else 0.0)
    share = skill(cell, share + 0.1 * float(cell.options.get("alpha", 0)))
    items, evaluations = [], []
    for spec in cell.evaluations:
        own = [_item(cell, row, spec.name, share) for row in asked[spec.name]]
        items += own
        references = {row.id: row for row in asked[spec.name]}
        pairs = [Item(i.prediction, (references[i.id].reference,), i.score, i.id) for i in own]
        metrics = METRICS[cell.task]
        found = score_all(metrics, pairs, positive=task.positive, bootstrap=0)
        clean = [pair for pair in pairs if not references[pair.id].overlaps]
        without = score_all(metrics, clean, positive=task.positive, bootstrap=0)
        evaluations.append(
            Evaluation(
                name=spec.name,
                n=ROWS,
                rows_key=f"rows-{spec.name}",
                fingerprint=f"{spec.name}-fingerprint",
                scores=tuple(map(_record, found)),
                without_overlap=tuple(map(_record, without)),
                overlapping=1,
                distinct=len({i.prediction for i in own}) / ROWS,
            )
        )
    trained = bool(cell.rates or cell.options)
    parameters = {"full": 11_441_920, "lora": 73_728, "soft": 5_120}.get(cell.arm, 0)
    result = CellResult(
        hash=cell.hash,
        config=cell,
        status="ok",
        trials=(Trial(rate=0.01, dev=12.0 + cell.seed, steps=60),) if trained else (),
        chosen=0 if trained else None,
        evaluations=tuple(evaluations),
        drawn=Drawn(train=shots, dev=48, train_fingerprint="t", dev_fingerprint="d"),
        cost=Cost(
            parameters=parameters,
            backbone_parameters=11_441_920,
            storage_bytes=4 * parameters or None,
            train_seconds=(2.0 if cell.arm == "full" else 0.5) * shots if trained else 0.0,
            latency_ms=4.0 if cell.method else None,
        ),
        backbone="builtin-1" if cell.method else "",
        environment={"codeprompt": "0.1.0", "torch": "2.13.0"},
        started="2026-11-20T12:00:00Z",
        seconds=12.5,
    )
    folder.write_result(result, items)


def _item(cell: Cell, row: RowRecord, name: str, share: float) -> ItemRecord:
    draw = random.Random(f"{cell.label} {row.id}")
    if cell.task == "defect":
        right = draw.random() < 0.35 + share / 2
        label = row.reference if right else {"clean": "defective"}.get(row.reference, "clean")
        sure = draw.uniform(0.5, 1.0)
        return ItemRecord(
            evaluation=name,
            id=row.id,
            prediction=label,
            score=None if cell.baseline else (sure if label == "defective" else 1 - sure),
        )
    if cell.baseline:
        return ItemRecord(evaluation=name, id=row.id, prediction="return the list of a <b>.")
    words = [
        word if draw.random() < share else draw.choice(WORDS) for word in row.reference.split()
    ]
    return ItemRecord(evaluation=name, id=row.id, prediction=" ".join(words), score=-1.5)


def _record(score: object) -> ScoreRecord:
    from codeprompt.types import Score

    assert isinstance(score, Score)
    return ScoreRecord(metric=score.metric, value=score.value, n=score.n, signature=score.signature)


def make_runs(base: Path) -> Path:
    """Three small runs: `first` has a failed cell and two evaluations, `second` other answers."""
    wanted = suite(seeds=2, evaluations=("test", "renamed"))
    make_run(base / "first", wanted, fails=lambda c: (c.arm, c.seed, c.shots) == ("lora", 1, 64))
    make_run(base / "second", suite(seeds=2), skill=lambda cell, usual: usual + 0.3)
    make_run(base / "defects", suite("defect", seeds=2))
    return base
