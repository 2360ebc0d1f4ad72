"""What a page shows, put together from a source: tables, figures, examples, cells, data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from codeprompt.bench.report import board, grid, numbers
from codeprompt.bench.report.answers import examples
from codeprompt.bench.report.figures import arms, figures, slug
from codeprompt.bench.report.findings import findings
from codeprompt.bench.report.grid import Cell, Column, Grid, text
from codeprompt.bench.report.page import SourceView, TableView
from codeprompt.bench.report.palette import Look, looks
from codeprompt.bench.report.prices import priced
from codeprompt.bench.report.source import Source
from codeprompt.bench.results import DataReport, Table

COMPARED = 2  # runs that are set side by side, arm by arm


def view(source: Source, several: bool, with_examples: bool) -> SourceView:
    """One run's part of the page; `several`: it is not the only one."""
    look = looks(arms(source))
    prefix = slug(source.label) + "-" if several else ""
    tables = tuple(
        _table(source, table, prefix, look, with_examples) for table in source.tables.tables
    )
    results = list(source.results.values())
    failed = tuple(one for one in results if one.status == "failed")
    hidden = ""
    if not with_examples:
        hidden = "Examples were left out of this report."
    elif not any(view.examples for view in tables):
        hidden = (
            "There are no examples: the rows or the predictions are not kept in this folder, or no "
            "arm was trained."
        )
    return SourceView(
        anchor=prefix + "run",
        source=source,
        tables=tables,
        failed=failed,
        environment=tuple((key, str(value)) for key, value in results[0].environment.items()),
        cells=_cells(source),
        data=tuple(_data(report) for report in source.data.values()),
        hidden=hidden,
    )


def _table(
    source: Source, table: Table, prefix: str, look: dict[str, Look], with_examples: bool
) -> TableView:
    base = slug(table.task, table.data, table.evaluation)
    grids = [grid.scores(table, base, priced(table))]
    if any(row.without_overlap for row in table.rows):
        grids.append(_renamed(grid.scores(table, f"{base}-without-overlap", without_overlap=True)))
    if table.published:
        grids.append(grid.published(table, f"{base}-published"))
    tests = None
    if table.contrasts:
        tests = grid.contrasts(table.contrasts, f"{base}-tests", f"Tests: {table.title}")
    return TableView(
        anchor=prefix + base,
        table=table,
        grids=tuple(grids),
        tests=tests,
        findings=tuple(findings(table)),
        figures=tuple(figures(source, table, look)),
        examples=examples(source, table) if with_examples else None,
    )


def _renamed(found: Grid) -> Grid:
    title = f"{found.title}: without the rows that stand in training or dev data, or nearly"
    return Grid(found.name, title, found.columns, found.rows)


def boards(sources: Sequence[Source]) -> list[Grid]:
    """Leaderboards of what several runs answered alike, and of two runs every arm side by side."""
    if len(sources) < COMPARED:
        return []
    out: list[Grid] = []
    for place, one in enumerate(board.boards(sources), start=1):
        labels = {source.label for source, _, _ in one.entries}
        if len(labels) < COMPARED:
            continue
        out.append(board.leaderboard(one, place))
        if len(sources) == COMPARED:
            for a, b in combinations(sources, COMPARED):
                found = board.comparison(one, a, b, place)
                out += [found] if found else []
    return out


def _cells(source: Source) -> Grid:
    """Every cell with its configuration's hash: each figure's way back."""
    columns = (
        Column("cell", False),
        Column("configuration", False),
        Column("status", False),
        Column("learning rate"),
        Column("dev"),
        Column("took"),
        Column("ended", False),
    )
    rows = []
    for hash, result in source.results.items():
        rate, dev = result.rate, result.dev
        cells = (
            text(result.config.label),
            text(f"cells/{hash}.json"),
            text(result.status, result.status),
            Cell(rate, numbers.NONE if rate is None else f"{rate:g}"),
            Cell(dev, numbers.number(dev)),
            Cell(result.seconds, numbers.seconds(result.seconds)),
            text(result.started),
        )
        rows.append((result.status, cells))
    return Grid("cells", "Cells", columns, tuple(rows))


def _data(report: DataReport) -> Grid:
    """Duplicates within a data set and between its parts."""
    columns = (
        Column("part", False),
        Column("rows"),
        Column("beside", False),
        Column("near"),
        Column("exact"),
        Column("fingerprint", False),
    )
    rows = []
    for part, count in report.parts.items():
        inner = report.inner.get(part)
        cells = (
            text(part),
            Cell(count, numbers.count(count)),
            text("itself"),
            Cell(inner, numbers.count(inner)),
            Cell(None, numbers.NONE),
            text(report.fingerprints.get(part, "")[:16]),
        )
        rows.append(("", cells))
    for one in report.across:
        cells = (
            text(one.part),
            Cell(one.rows, numbers.count(one.rows)),
            text(one.other),
            Cell(one.near, numbers.count(one.near)),
            Cell(one.exact, numbers.count(one.exact)),
            text(""),
        )
        rows.append(("", cells))
    form = {"tokens": "code joined from tokens", "text": "source as it stands"}[report.form]
    notes = list(report.notes)
    if report.both_labels:
        notes.append(f"{report.both_labels} texts carry more than one label.")
    if report.base_rate is not None:
        notes.append(f"{100 * report.base_rate:.2f}% of the test rows have the positive label.")
    title = f"{report.name} ({form})"
    return Grid(slug("data", report.name), title, columns, tuple(rows), tuple(notes))
