"""The chosen prompt, or a baseline, on each evaluation of its cell; every row is answered once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from codeprompt.bench.cell import Cell
from codeprompt.bench.data import evaluation_rows, plain_rows, rows_key
from codeprompt.bench.pairs import pair_scores
from codeprompt.bench.place import Place
from codeprompt.bench.results import Evaluation, ItemRecord, ScoreRecord
from codeprompt.bench.suite import EvaluationSpec
from codeprompt.data.fingerprint import fingerprint
from codeprompt.metrics.base import Item
from codeprompt.tasks.base import Task
from codeprompt.training.evaluate import items_of, task_scores
from codeprompt.types import Example, Prediction, Score

Answer = Callable[[Sequence[Example]], list[Prediction]]


@dataclass(frozen=True)
class Answered:
    """The rows of one evaluation with their answers. plain: before their transformation."""

    spec: EvaluationSpec
    rows: Sequence[Example]
    plain: Sequence[Example]
    found: Sequence[Prediction]
    seconds: float

    @property
    def changed(self) -> list[int]:
        """Places of the rows that the transformation changed."""
        return [at for at, (a, b) in enumerate(zip(self.rows, self.plain, strict=True)) if a != b]


def evaluate(
    cell: Cell, place: Place, task: Task, answer: Answer
) -> tuple[tuple[Evaluation, ...], tuple[ItemRecord, ...], list[Example]]:
    """Every evaluation, its predictions, and the rows of the first one."""
    several: list[Answered] = []
    for spec in cell.evaluations:
        several.append(_answered(cell, spec, place, answer, several))
    records = tuple(
        ItemRecord(evaluation=one.spec.name, id=row.id, prediction=p.text, score=p.score)
        for one in several
        for row, p in zip(one.rows, one.found, strict=True)
    )
    evaluations = tuple(_scored(cell, place, task, one, several) for one in several)
    return evaluations, records, list(several[0].rows) if several else []


def _answered(
    cell: Cell,
    spec: EvaluationSpec,
    place: Place,
    answer: Answer,
    before: Sequence[Answered],
) -> Answered:
    """Answer the rows; one that a transformation left as it is has its answer already."""
    plain = plain_rows(spec, cell.data, place.root)
    rows, _ = evaluation_rows(spec, cell.data, place.root)
    known = _same_rows(plain, before) if spec.transform else None
    started = time.monotonic()
    if known is None:
        return Answered(spec, rows, plain, answer(rows), time.monotonic() - started)
    new = [at for at, (a, b) in enumerate(zip(rows, plain, strict=True)) if a != b]
    found = list(known.found)
    for at, prediction in zip(new, answer([rows[at] for at in new]) if new else [], strict=True):
        found[at] = prediction
    return Answered(spec, rows, plain, found, time.monotonic() - started)


def _same_rows(plain: Sequence[Example], before: Sequence[Answered]) -> Answered | None:
    """An earlier evaluation of the same rows as they are."""
    return next((one for one in before if not one.spec.transform and one.rows == plain), None)


def _scored(
    cell: Cell, place: Place, task: Task, one: Answered, several: Sequence[Answered]
) -> Evaluation:
    spec, rows = one.spec, one.rows
    items = items_of(rows, one.found)
    scores, left_out = task_scores(task, rows, items, bootstrap=cell.bootstrap)
    more = pair_scores(rows, items, task) if spec.pairs else []
    known: Mapping[str, str] = place.overlapping.get(spec.name, {})
    apart = [at for at, row in enumerate(rows) if row.id not in known]
    changed = one.changed
    base = _same_rows(one.plain, several) if spec.transform else None

    def part(of: Answered, places: Sequence[int]) -> tuple[ScoreRecord, ...]:
        """The task's metrics on some rows."""
        chosen = [of.rows[at] for at in places]
        own: list[Item] = items_of(chosen, [of.found[at] for at in places])
        return tuple(map(as_record, task_scores(task, chosen, own, bootstrap=cell.bootstrap)[0]))

    found = Evaluation(
        name=spec.name,
        n=len(rows),
        rows_key=rows_key(spec, cell.data),
        fingerprint=fingerprint(rows),
        scores=tuple(map(as_record, [*scores, *more])),
        without_overlap=part(one, apart) if 0 < len(apart) < len(rows) else (),
        overlapping=len(rows) - len(apart),
        left_out=tuple(left_out),
        distinct=round(len({p.text for p in one.found}) / len(one.found), 4),
        transform=spec.transform,
        changed=len(changed),
        seconds=round(one.seconds, 3),
    )
    if not changed or base is None:
        return found
    return replace(found, after_change=part(one, changed), before_change=part(base, changed))


def as_record(score: Score) -> ScoreRecord:
    """A score as results keep it; not-a-number is None."""
    return ScoreRecord(
        metric=score.metric,
        value=score.value if score.value == score.value else None,
        n=score.n,
        signature=score.signature,
        interval=(score.low, score.high) if score.low == score.low else None,
        parts={k: v for k, v in score.parts.items() if v == v},
    )
