"""A results folder as a report reads it: everything in memory but the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codeprompt.bench.results import (
    CellResult,
    DataReport,
    Evaluation,
    Run,
    Table,
    TableRow,
    Tables,
)
from codeprompt.bench.store import RunFolder
from codeprompt.bench.tables import make_tables
from codeprompt.errors import DataError, UsageError


@dataclass(frozen=True)
class Source:
    """One run. label: how it is told from others on one page."""

    label: str
    folder: RunFolder
    run: Run
    tables: Tables
    results: dict[str, CellResult]
    data: dict[str, DataReport]

    def evaluation(self, table: Table, row: TableRow) -> Evaluation | None:
        """A row's first cell on the rows of its table."""
        for hash in row.cells:
            for one in self.results[hash].evaluations:
                if one.name == table.evaluation:
                    return one
        return None


def read(path: Path, label: str = "") -> Source:
    """A run's folder. Raises `DataError` where it holds no run, or one without any result."""
    folder = RunFolder(path)
    run = folder.run()
    results = {one.hash: one for one in folder.results()}
    if not results:
        raise DataError(
            f"{path} holds no result yet: none of its {len(run.cells)} cells has ended",
            do=f"Run it (codeprompt bench {run.suite.name} --out {path})",
        )
    tables = folder.tables()
    if tables is None or tables.done + tables.failed < len(results):
        tables = make_tables(folder)
    return Source(label or run.suite.name, folder, run, tables, results, folder.data_reports())


def read_all(paths: Sequence[Path]) -> list[Source]:
    """Several runs, each under a label of its own. Raises `UsageError` for one named twice."""
    if not paths:
        raise UsageError("There is no run to report", expected="one results folder or more")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("One results folder is named twice", expected="each folder once")
    names = [path.resolve().name for path in paths]
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return [read(path, label) for path, label in zip(paths, labels, strict=True)]
