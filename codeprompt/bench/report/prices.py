"""Columns of what an arm costs beyond its parameters, where the suite measured it."""

from __future__ import annotations

from collections.abc import Callable

from codeprompt.bench.report import numbers
from codeprompt.bench.report.grid import Cell, Column, Price, text
from codeprompt.bench.results import Cost, Table, TableRow


def priced(table: Table) -> tuple[Price, ...]:
    """Columns that any row has something for, each with how a row fills it."""
    plain = _plain_latency(table)
    columns: list[tuple[Column, Callable[[Cost], Cell]]] = [
        (
            Column("steps to best", help="of the chosen run, when dev was best"),
            lambda c: Cell(c.best_step, numbers.number(c.best_step, 0)),
        ),
        (
            Column("a step", help="of training, mean of the wall", higher=False),
            lambda c: Cell(c.step_ms, _ms(c.step_ms)),
        ),
        (
            Column("memory", help="peak of the process, training included", higher=False),
            lambda c: Cell(c.peak_memory_mb, _megabytes(c.peak_memory_mb)),
        ),
        (
            Column("storage", help="of what is kept of one such prompt, or one such model"),
            lambda c: Cell(c.storage_bytes, numbers.size(c.storage_bytes)),
        ),
        (
            Column("an answer", help="median at batch 1", higher=False),
            lambda c: Cell(c.latency_ms, _ms(c.latency_ms)),
        ),
        (
            Column("against no prompt", help="an answer's time over the hard prompt's"),
            lambda c: _ratio(c.latency_ms, plain),
        ),
    ]
    out: list[Price] = [(column, _of_cost(fill)) for column, fill in columns]
    names = dict.fromkeys(name for row in table.rows for name in row.checks)
    out += [(Column(name, False, help="tried on a few rows"), _checked(name)) for name in names]
    detailed = any(row.cost.latency_ms is not None or row.checks for row in table.rows)
    return tuple(
        (column, fill)
        for column, fill in out
        if (detailed or column.name == "storage")
        and any(fill(row).value not in (None, "") for row in table.rows)
    )


def _of_cost(fill: Callable[[Cost], Cell]) -> Callable[[TableRow], Cell]:
    return lambda row: fill(row.cost)


def _checked(name: str) -> Callable[[TableRow], Cell]:
    return lambda row: text(row.checks.get(name, ""), "no" if _fails(row, name) else "")


def _fails(row: TableRow, name: str) -> bool:
    return row.checks.get(name, "").startswith("no")


def _plain_latency(table: Table) -> float | None:
    """Of the one arm that trains nothing, where there is one."""
    plain = [row.cost.latency_ms for row in table.rows if row.kind == "untrained" and row.cells]
    return plain[0] if len(plain) == 1 else None


def _ratio(latency: float | None, plain: float | None) -> Cell:
    if not latency or not plain:
        return Cell(None, numbers.NONE)
    return Cell(latency / plain, f"{latency / plain:.2f}×")


def _ms(value: float | None) -> str:
    return numbers.NONE if value is None else f"{value:.0f} ms"


def _megabytes(value: float | None) -> str:
    return numbers.size(None if value is None else int(value * 1e6))
