"""Predictions beside what was asked: scores of labels, and examples to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codeprompt.bench.report import numbers
from codeprompt.bench.report.plots.cost import shown
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import CellResult, Evaluation, ItemRecord, RowRecord, Table, TableRow
from codeprompt.errors import CodepromptError
from codeprompt.metrics.base import Item
from codeprompt.registry import METRICS, TASKS

EACH = 3  # examples of the best, the median and the worst
LINES = 60  # of code that an example shows
SENTENCES = "codexglue-sentence-bleu"  # for items of metrics that only a corpus has


@dataclass(frozen=True)
class Answer:
    """What one arm said to a row; worth: under the table's metric, as text."""

    arm: str
    prediction: str
    worth: str


@dataclass(frozen=True)
class Example:
    """One row. group: `best`, `median` or `worst`, by the leading arm's answer."""

    group: str
    id: str
    code: str
    cut: int
    reference: str
    overlaps: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Examples:
    """lead: whose answers were sorted; by: under which metric."""

    lead: str
    by: str
    shots: str
    found: tuple[Example, ...]


def _answered(
    source: Source, table: Table, result: CellResult
) -> tuple[Evaluation, list[ItemRecord], dict[str, RowRecord]] | None:
    """A cell's predictions with their rows; None where either is not kept in the folder."""
    for one in result.evaluations:
        if one.name == table.evaluation:
            rows, items = source.folder.rows(one), source.folder.items(result).get(one.name, [])
            if rows and items and all(item.id in rows for item in items):
                return one, items, rows
    return None


def scored(source: Source, table: Table, row: TableRow) -> list[tuple[float, bool]]:
    """Score of the positive label, and whether that label was right, over all of a row's seeds."""
    task = TASKS.get(table.task)
    if task.kind != "classify" or not task.positive:
        return []
    out: list[tuple[float, bool]] = []
    for hash in row.cells:
        found = _answered(source, table, source.results[hash])
        if found is None:
            continue
        _, items, rows = found
        out += [
            (item.score, rows[item.id].reference.strip() == task.positive)
            for item in items
            if item.score is not None and 0 <= item.score <= 1
        ]
    return out


def examples(source: Source, table: Table) -> Examples | None:
    """Answers of the leading arm, from best to worst, beside those of its rivals."""
    if not table.metrics:
        return None
    shots, rows = shown(table, table.metrics[0])
    chosen = _chosen(table, [row for row, _ in rows])
    if not chosen:
        return None
    by_arm: dict[str, tuple[list[ItemRecord], list[float]]] = {}
    kept: dict[str, RowRecord] = {}
    metric = table.metrics[0]
    for row in chosen:
        found = _answered(source, table, source.results[row.cells[0]])
        if found is None:
            continue
        _, items, own = found
        kept = kept or own
        if list(own) == list(kept):
            by_arm[row.name] = items, worths(table, metric, items, own)
    if not by_arm:
        return None
    lead = next(iter(by_arm))
    items, worth = by_arm[lead]
    order = sorted(range(len(items)), key=lambda place: -worth[place])
    picked = [(group, place) for group, places in _groups(order) for place in places]
    found_examples = tuple(
        _example(group, kept[items[place].id], items[place].id, by_arm, metric)
        for group, place in picked
    )
    return Examples(lead, _by(table, metric), numbers.shots_text(shots), found_examples)


def _chosen(table: Table, rows: Sequence[TableRow]) -> list[TableRow]:
    """The best of each kind under the table's metric, prompts on a frozen backbone first."""
    metric = table.metrics[0]
    sign = 1 if table.higher_is_better.get(metric, True) else -1
    out = []
    for kind in ("frozen", "weights", "untrained", "baseline"):
        own = [row for row in rows if row.kind == kind and row.cells]
        if own:
            out.append(max(own, key=lambda row: sign * (row.metrics[metric].mean or 0.0)))
    return out


def _by(table: Table, metric: str) -> str:
    if TASKS.get(table.task).kind == "classify":
        return "the score of the right label"
    return metric if metric != _item_metric(metric) else f"{metric} of each item"


def _item_metric(metric: str) -> str:
    """The metric itself where it is a mean over items and needs nothing else to be known."""
    try:
        probe = METRICS.get(metric).measured([Item("a b", ("a b",))])
    except CodepromptError:
        return SENTENCES
    return metric if probe.items else SENTENCES


def worths(
    table: Table, metric: str, items: Sequence[ItemRecord], rows: dict[str, RowRecord]
) -> list[float]:
    """What each answer is worth, 0-100."""
    task = TASKS.get(table.task)
    if task.kind == "classify":
        return [_right(item, rows[item.id].reference.strip(), task.positive) for item in items]
    pairs = [Item(item.prediction, (rows[item.id].reference,)) for item in items]
    return list(METRICS.get(_item_metric(metric)).measured(pairs).items)


def _right(item: ItemRecord, reference: str, positive: str | None) -> float:
    if item.score is None or positive is None:
        return 100.0 * (item.prediction.strip() == reference)
    return 100.0 * (item.score if reference == positive else 1.0 - item.score)


def _groups(order: list[int]) -> list[tuple[str, list[int]]]:
    """Places of the best, the median and the worst answers; none twice."""
    each = min(EACH, len(order) // 3)
    if each == 0:
        return [("best", order)]
    middle = (len(order) - each) // 2
    return [
        ("best", order[:each]),
        ("median", order[middle : middle + each]),
        ("worst", order[-each:]),
    ]


def _example(
    group: str,
    row: RowRecord,
    id: str,
    by_arm: dict[str, tuple[list[ItemRecord], list[float]]],
    metric: str,
) -> Example:
    answers = []
    for arm, (items, worth) in by_arm.items():
        for item, value in zip(items, worth, strict=True):
            if item.id == id:
                answers.append(Answer(arm, item.prediction, numbers.number(value, 1)))
    lines = row.code.splitlines()
    shown_code = "\n".join(lines[:LINES])
    return Example(
        group,
        id,
        shown_code,
        max(0, len(lines) - LINES),
        row.reference,
        row.overlaps,
        tuple(answers),
    )
