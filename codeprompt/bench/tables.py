"""Tables from results: means over seeds with intervals, baselines among the arms, tests beneath."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import mean
from typing import Any, Literal

from codeprompt.bench.cell import Cell
from codeprompt.bench.contrasts import Answered, contrasts, planned
from codeprompt.bench.published import published_for
from codeprompt.bench.results import (
    CellResult,
    Cost,
    DataReport,
    Estimate,
    Evaluation,
    ScoreRecord,
    Table,
    TableRow,
    Tables,
)
from codeprompt.bench.store import RunFolder, now
from codeprompt.bench.suite import Suite
from codeprompt.metrics.base import Item
from codeprompt.metrics.seeds import seed_interval
from codeprompt.registry import METHODS, METRICS, TASKS

Kind = Literal["baseline", "untrained", "frozen", "weights"]
DEV = "dev"
"""The evaluation's name where a suite reads no test rows."""
LOG_PROB = "log-probability"
"""Of a dev token or label under the chosen trial, the mean."""
UNTESTED = (
    "Nothing is tested: the rows that were scored are not kept here (`rows/`, which a repository "
    "leaves out). The run's own command with `--data` makes them anew."
)


@dataclass(frozen=True)
class _Group:
    """The cells of one row, in the order of seeds, with the results there are."""

    cells: list[Cell]
    results: dict[str, CellResult]

    def ended(self) -> list[CellResult]:
        found = (self.results.get(cell.hash) for cell in self.cells)
        return [one for one in found if one is not None and one.status == "ok"]


def make_tables(folder: RunFolder, *, tests: bool = True) -> Tables:
    """All tables of a folder, from whatever results are there.

    tests: False leaves out the contrasts, which read every prediction.
    """
    run, cells = folder.run(), folder.cells()
    results = {one.hash: one for one in folder.results()}
    reports = folder.data_reports()
    wanted: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        for name in [one.name for one in cell.evaluations] or [DEV]:
            wanted.setdefault((cell.data.name, name), []).append(cell)
    tables = [
        _table(folder, run.suite, own, results, name, reports.get(data), tests)
        for (data, name), own in wanted.items()
    ]
    failed = sum(one.status == "failed" for one in results.values())
    return Tables(
        suite=run.suite.name,
        question=run.suite.question,
        tables=tuple(tables),
        done=len(results) - failed,
        failed=failed,
        missing=len(cells) - len(results),
        made=now(),
    )


def _table(
    folder: RunFolder,
    suite: Suite,
    cells: Sequence[Cell],
    results: dict[str, CellResult],
    evaluation: str,
    report: DataReport | None,
    tests: bool,
) -> Table:
    task, data = TASKS.get(cells[0].task), suite.data[cells[0].data.name]
    groups = _groups(cells, results)
    rows = tuple(_row(group, evaluation) for group in groups)
    found = [
        one
        for group in groups
        for result in group.ended()
        for one in result.evaluations
        if one.name == evaluation
    ]
    scores = [score for one in found for score in one.scores]
    metrics = [task.metrics[0], LOG_PROB] if evaluation == DEV else _metrics(task.metrics, scores)
    n = found[0].n if found else 0
    tested = tests and evaluation != DEV
    notes = [*data.notes, *_warnings(report, evaluation, cells[0], found)]
    if tested and found and planned(suite, rows) and not any(map(folder.rows, found)):
        notes.append(UNTESTED)
    backbones = dict.fromkeys(r.backbone for g in groups for r in g.ended() if r.backbone)
    return Table(
        title=_title(task.name, data.name, evaluation, cells[0]),
        task=task.name,
        data=data.name,
        evaluation=evaluation,
        form=data.form,
        backbone=", ".join(backbones),
        n=n,
        changed=found[0].changed if found else 0,
        metrics=tuple(metrics),
        higher_is_better={name: _higher(name) for name in metrics},
        signatures={score.metric: score.signature for score in scores},
        rows=rows,
        contrasts=_contrasts(folder, suite, groups, rows, evaluation) if tested else (),
        published=published_for(data.name, data.form) if evaluation == "test" else (),
        notes=tuple(notes),
    )


def _title(task: str, data: str, evaluation: str, cell: Cell) -> str:
    """What is scored on what; rows of other data than was tuned on are named."""
    if any(one.name == evaluation and one.data for one in cell.evaluations):
        return f"{task}, tuned on {data}, scored on {evaluation}"
    return f"{task} on {data}" + ("" if evaluation == "test" else f", {evaluation}")


def _metrics(known: Sequence[str], scores: Iterable[ScoreRecord]) -> list[str]:
    """The task's metrics in its order, then what only these rows have (pairs)."""
    there = dict.fromkeys(score.metric for score in scores)
    return [m for m in known if m in there] + [m for m in there if m not in known] or list(known)


def _higher(metric: str) -> bool:
    return bool(METRICS.get(metric).higher_is_better) if metric in METRICS.names() else True


def _groups(cells: Sequence[Cell], results: dict[str, CellResult]) -> list[_Group]:
    """Rows in the order of shots, then of the suite."""
    found: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.arm, cell.variant, str(cell.shots), cell.backbone), []).append(cell)
    groups = [_Group(sorted(own, key=lambda cell: cell.seed), results) for own in found.values()]
    return sorted(groups, key=lambda group: _size(group.cells[0]))


def _size(cell: Cell) -> tuple[int, float]:
    """Numbers of shots in order, shares after them."""
    if isinstance(cell.shots, int):
        return 0, cell.shots
    return 1, float(cell.shots.removesuffix("%"))


def kind_of(cell: Cell) -> Kind:
    """What a cell's arm is, without a look at its result."""
    if cell.baseline:
        return "baseline"
    method = METHODS.get(cell.method)
    if not method.learns(cell.options):
        return "untrained"
    return "frozen" if method.freezes(method.configure(cell.options), ()) else "weights"


def _row(group: _Group, evaluation: str) -> TableRow:
    first, ended = group.cells[0], group.ended()
    several = [_evaluated(result, evaluation) for result in ended]
    distinct = [one.distinct for one in several if one is not None]
    selecting = TASKS.get(first.task).metrics[0]
    dev = estimate([result.dev for result in ended]) if any(r.trials for r in ended) else None
    metrics = _estimates([one.scores if one else () for one in several])
    if evaluation == DEV and dev is not None:
        metrics = {selecting: dev, LOG_PROB: estimate([_log_prob(one) for one in ended])}
    failed = {
        str(cell.seed): result.error
        for cell in group.cells
        if (result := group.results.get(cell.hash)) is not None and result.status == "failed"
    }
    return TableRow(
        arm=first.arm,
        kind=kind_of(first),
        shots=first.shots,
        variant=first.variant,
        cells=tuple(result.hash for result in ended),
        seeds=tuple(result.config.seed for result in ended),
        metrics=metrics,
        without_overlap=_estimates([one.without_overlap if one else () for one in several]),
        after_change=_estimates([one.after_change if one else () for one in several]),
        before_change=_estimates([one.before_change if one else () for one in several]),
        dev=dev,
        rates=tuple(result.rate for result in ended) if dev else (),
        distinct=round(mean(distinct), 4) if distinct else None,
        cost=_mean_cost([result.cost for result in ended]),
        checks=ended[0].checks if ended else {},
        failed=failed,
        missing=tuple(c.seed for c in group.cells if c.hash not in group.results),
    )


def _log_prob(result: CellResult) -> float | None:
    return None if result.chosen is None else result.trials[result.chosen].dev_log_prob


def _evaluated(result: CellResult, name: str) -> Evaluation | None:
    return next((one for one in result.evaluations if one.name == name), None)


def _estimates(scores: Sequence[Sequence[ScoreRecord]]) -> dict[str, Estimate]:
    """Metric to its estimate, from one list of scores a seed."""
    names = dict.fromkeys(score.metric for own in scores for score in own)
    values = {
        name: [next((s.value for s in own if s.metric == name), None) for own in scores]
        for name in names
    }
    return {name: estimate(found) for name, found in values.items()}


def estimate(values: Sequence[float | None]) -> Estimate:
    """Mean and t interval over the seeds whose value is defined."""
    defined = [value for value in values if value is not None]
    return Estimate(
        mean=mean(defined) if defined else None,
        interval=seed_interval(defined),
        values=tuple(values),
    )


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    """Field by field over seeds; counts are those of the first."""
    if not costs:
        return Cost()
    out: dict[str, Any] = {}
    for one in fields(Cost):
        values = [getattr(cost, one.name) for cost in costs]
        values = [value for value in values if value is not None]
        if values:
            counted = all(isinstance(value, int) for value in values)
            out[one.name] = values[0] if counted else round(mean(values), 3)
    return Cost(**out)


def _contrasts(
    folder: RunFolder,
    suite: Suite,
    groups: Sequence[_Group],
    rows: Sequence[TableRow],
    evaluation: str,
) -> tuple[Any, ...]:
    """The suite's contrasts; none where the rows' references are not kept with the folder."""
    pairs = planned(suite, rows)
    if not pairs:
        return ()
    task = TASKS.get(groups[0].cells[0].task)
    by_row = {id(row): group for row, group in zip(rows, groups, strict=True)}
    answered: dict[int, Answered] = {}
    language: set[str] = set()
    for row in {id(row): row for pair in pairs for row in pair}.values():
        items: dict[int, list[Item]] = {}
        for result in by_row[id(row)].ended():
            one = _evaluated(result, evaluation)
            references = folder.rows(one) if one else {}
            if one is None or not references:
                continue
            language |= {r.fields.get("target_language", "") for r in references.values()}
            items[result.config.seed] = [
                Item(i.prediction, (references[i.id].reference,), i.score, i.id)
                for i in folder.items(result).get(evaluation, [])
            ]
        answered[id(row)] = Answered(row, {s: own for s, own in items.items() if own})
    whole = [
        (answered[id(a)], answered[id(b)])
        for a, b in pairs
        if answered[id(a)].items and answered[id(b)].items
    ]
    spoken = next(iter(language)) if len(language) == 1 and "" not in language else None
    return contrasts(whole, task.metrics[0], positive=task.positive, language=spoken)


def _warnings(
    report: DataReport | None, evaluation: str, cell: Cell, found: Sequence[Evaluation]
) -> list[str]:
    """What the audit and the transformation found, in sentences. cell: any of the table."""
    out = []
    if found and found[0].transform:
        out.append(f"The transformation changed {found[0].changed} of {found[0].n} rows.")
    if report is None:
        return out
    for one in report.across:
        if one.part == evaluation and one.near:
            out.append(
                f"{one.near} of {one.rows} rows stand in {one.other}, equal ({one.exact}) or "
                f"nearly (Jaccard >= {one.threshold:g}); scores without them are given beside."
            )
    if report.both_labels:
        out.append(f"{report.both_labels} texts carry more than one label.")
    first = cell.evaluations[0].name if cell.evaluations else evaluation
    if report.base_rate is not None and evaluation == first:
        out.append(f"{100 * report.base_rate:.2f}% of the rows have the positive label.")
    return out
