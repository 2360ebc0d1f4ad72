"""The tables of a benchmark as text: what a terminal can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeprompt.cli.output import number, say, table
from codeprompt.registry import TASKS

if TYPE_CHECKING:
    from codeprompt.bench.results import Estimate, Table, TableRow, Tables

FORMS = {"tokens": "code as joined tokens", "text": "code as it stands"}


def show(tables: Tables) -> None:
    """Tables as text: what a terminal can show; the report shows the rest."""
    say(tables.question)
    for one in tables.tables:
        if any(row.cells for row in one.rows):
            _show(one)
    if tables.failed or tables.missing:
        say(f"\n{tables.done} cells done, {tables.failed} failed, {tables.missing} missing")
        for one in tables.tables:
            for row in one.rows:
                for seed, error in row.failed.items():
                    say(f"  {one.title}, {row.name}, {row.shots} shots, seed {seed}: {error}")


def _show(one: Table) -> None:
    say(f"\n{one.title}: {one.n} rows, {FORMS[one.form]}, {one.backbone or 'no backbone'}")
    first = one.metrics[0]
    heads = ["arm", "shots", "seeds", first, "95% over seeds", *one.metrics[1:]]
    rows = [row for row in one.rows if row.cells]
    more: list[tuple[str, list[Any]]] = []
    if any(row.without_overlap for row in rows):
        more.append(("without overlap", [_mean(row.without_overlap, first) for row in rows]))
    if any(row.after_change for row in rows):
        more.append(("changed rows before", [_mean(row.before_change, first) for row in rows]))
        more.append(("after", [_mean(row.after_change, first) for row in rows]))
    more.append(("trained", [f"{row.cost.parameters:,}" for row in rows]))
    if TASKS.get(one.task).kind == "generate":
        more.append(("distinct", [_number(row.distinct) for row in rows]))
    more.append(("train s", [_number(row.cost.train_seconds or None) for row in rows]))
    heads += [head for head, _ in more]
    table(heads, [_line(one, row) + [own[at] for _, own in more] for at, row in enumerate(rows)])
    for contrast in one.contrasts:
        say(
            f"  {contrast.b} against {contrast.a}, {contrast.shots} shots: "
            f"{contrast.difference:+.2f} "
            f"[{contrast.interval[0]:+.2f}, {contrast.interval[1]:+.2f}]"
            f"{_relative(contrast.relative)}, p = {contrast.p_holm:.3g} (Holm): "
            + {"a": f"{contrast.a} is better", "b": f"{contrast.b} is better"}.get(
                contrast.winner, "a tie"
            )
            + (" (one seed)" if contrast.one_seed else "")
        )
    for text in one.notes:
        say(f"  Note: {text}")


def _relative(share: float | None) -> str:
    return "" if share is None else f" ({share:+.1%})"


def _line(one: Table, row: TableRow) -> list[Any]:
    first = row.metrics.get(one.metrics[0])
    around = first.interval if first else None
    return [
        row.name,
        str(row.shots),
        len(row.seeds),
        _mean(row.metrics, one.metrics[0]),
        "-" if around is None else f"{number(around[0])} to {number(around[1])}",
        *(_mean(row.metrics, metric) for metric in one.metrics[1:]),
    ]


def _mean(estimates: Mapping[str, Estimate], metric: str) -> str:
    return _number(estimates[metric].mean if metric in estimates else None)


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)
