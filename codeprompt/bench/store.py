"""A run's folder: reading, writing whole files, and who works on which cell.

Several processes, also of several commands, may share one folder: a cell is run by whoever holds
its file lock. `running/HASH.json` tells how far it is; it says nothing about who may.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from codeprompt.bench.cell import Cell, as_plain
from codeprompt.bench.results import (
    VERSION,
    CellResult,
    DataReport,
    Evaluation,
    ItemRecord,
    RowRecord,
    Run,
    Tables,
)
from codeprompt.errors import DataError, UsageError
from codeprompt.files import write_bytes, write_error, write_text

T = TypeVar("T")
FOLDERS = ("cells", "results", "items", "rows", "data", "locks", "running", "partial")
IGNORED = "rows/\nlocks/\nrunning/\npartial/\n"
"""What a repository should not hold: the data itself, and work in progress."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a cell is. share: 0..1 of its work. attempts: times it was begun."""

    hash: str
    label: str
    pid: int
    host: str
    started: float
    attempts: int = 1
    share: float = 0.0
    doing: str = ""


class RunFolder:
    """One run's files; see `results.py` for what lies where."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # What a report reads.

    def run(self) -> Run:
        """The run's description. Raises `DataError` where the folder holds none."""
        if not (self.path / "run.json").is_file():
            raise DataError(
                f"{self.path} holds no benchmark run",
                expected="a folder that `codeprompt bench SUITE --out` wrote",
            )
        return _read(self.path / "run.json", Run)

    def has_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    def cells(self) -> list[Cell]:
        """The configurations, in the run's order."""
        return [_read(self.path / "cells" / f"{one}.json", Cell) for one in self.run().cells]

    def result(self, hash: str) -> CellResult | None:
        """A cell's result; None while there is none."""
        path = self.path / "results" / f"{hash}.json"
        return _read(path, CellResult) if path.is_file() else None

    def has_result(self, hash: str) -> bool:
        """Whether a cell has ended, well or not."""
        return (self.path / "results" / f"{hash}.json").is_file()

    def results(self) -> Iterator[CellResult]:
        """The results there are, in the run's order."""
        for one in self.run().cells:
            found = self.result(one)
            if found is not None:
                yield found

    def items(self, result: CellResult) -> dict[str, list[ItemRecord]]:
        """Evaluation name to its predictions in the order of the rows; {} where not kept."""
        out: dict[str, list[ItemRecord]] = {}
        for item in _lines(self.path / "items" / f"{result.hash}.jsonl.xz", ItemRecord):
            out.setdefault(item.evaluation, []).append(item)
        return out

    def rows(self, evaluation: Evaluation) -> dict[str, RowRecord]:
        """Row id to row, in order; {} where the rows are not kept here."""
        path = self.path / "rows" / f"{evaluation.rows_key}.jsonl.xz"
        return {row.id: row for row in _lines(path, RowRecord)}

    def data_reports(self) -> dict[str, DataReport]:
        """What is known of each data set, by name."""
        found = sorted((self.path / "data").glob("*.json"))
        return {path.stem: _read(path, DataReport) for path in found}

    def tables(self) -> Tables | None:
        """The tables of the last end; None before the first."""
        path = self.path / "tables.json"
        return _read(path, Tables) if path.is_file() else None

    # What a run writes.

    def begin(self, run: Run, cells: Sequence[Cell]) -> None:
        """Lay down the plan. Raises `CodepromptError` where the folder cannot be written."""
        for folder in FOLDERS:
            try:
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(self.path / folder, error) from error
        if not (self.path / ".gitignore").is_file():
            write_text(self.path / ".gitignore", IGNORED)
        for cell in cells:
            path = self.path / "cells" / f"{cell.hash}.json"
            if not path.is_file():
                _write(path, as_plain(cell))
        _write(self.path / "run.json", run)

    def write_result(self, result: CellResult, items: Sequence[ItemRecord] = ()) -> None:
        """A cell's end: predictions first, so that a result never stands without them."""
        if items:
            write_bytes(self.path / "items" / f"{result.hash}.jsonl.xz", _packed(items))
        _write(self.path / "results" / f"{result.hash}.json", result)
        for left in (self.path / "partial").glob(f"{result.hash}*"):
            left.unlink(missing_ok=True)
        (self.path / "running" / f"{result.hash}.json").unlink(missing_ok=True)

    def drop_result(self, hash: str) -> None:
        """Forget a result, so that its cell is run again."""
        (self.path / "results" / f"{hash}.json").unlink(missing_ok=True)
        (self.path / "running" / f"{hash}.json").unlink(missing_ok=True)

    def write_rows(self, key: str, rows: Sequence[RowRecord]) -> None:
        """An evaluation's rows, once."""
        path = self.path / "rows" / f"{key}.jsonl.xz"
        if not path.is_file():
            write_bytes(path, _packed(rows))

    def write_data_report(self, report: DataReport) -> None:
        """A data set's report."""
        _write(self.path / "data" / f"{report.name}.json", report)

    def write_tables(self, tables: Tables) -> None:
        """The tables, in place of those before."""
        _write(self.path / "tables.json", tables)

    # Who works on what.

    @contextlib.contextmanager
    def claim(self, hash: str) -> Iterator[bool]:
        """Whether the cell is ours to run: nobody else holds it. Given back at the end, or death.

        Whoever claims must look for the result again: another may have just written it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "locks" / f"{hash}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def progress(self) -> list[Progress]:
        """What is being run now, or was when its process ended."""
        out = []
        for path in sorted((self.path / "running").glob("*.json")):
            with contextlib.suppress(OSError, DataError):  # it ended while we looked
                out.append(_read(path, Progress))
        return out

    def say_progress(self, progress: Progress) -> None:
        """Tell how far a cell is."""
        path = self.path / "running" / f"{progress.hash}.json"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):  # a note on a board is not worth a run
            temporary.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            os.replace(temporary, path)

    def partial(self, hash: str, name: str) -> Path:
        """Where an unfinished cell keeps what it has."""
        return self.path / "partial" / f"{hash}.{name}"


def check_versions(found: Mapping[str, Any], path: Path) -> None:
    """Raises `DataError` for a file of a newer version."""
    version = found.get("version", VERSION)
    if version != VERSION:
        raise DataError(
            f"{path} is of version {version}",
            expected=f"version {VERSION}",
            do="Read it with the version of codeprompt that wrote it",
        )


def _read(path: Path, kind: type[T]) -> T:
    try:
        found = msgspec.json.decode(path.read_bytes())
        if isinstance(found, dict):
            check_versions(found, path)
        return msgspec.convert(found, kind, strict=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not what a benchmark writes: {error}",
            do="Remove it; the next run makes it anew",
        ) from error


def _write(path: Path, value: Any) -> None:
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _packed(records: Sequence[Any]) -> bytes:
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    return lzma.compress(lines, preset=6)


def _lines(path: Path, kind: type[T]) -> Iterator[T]:
    if not path.is_file():
        return
    try:
        for line in lzma.decompress(path.read_bytes()).splitlines():
            yield msgspec.json.decode(line, type=kind)
    except (lzma.LZMAError, msgspec.DecodeError) as error:
        raise DataError(f"{path} is cut or changed: {error}", do="Run its cell again") from error


def check_folder(path: Path) -> None:
    """Raises `UsageError` where a run cannot be kept: a file, or a folder of something else.

    One that another command is just beginning has our folders and no description yet.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out {path} is a file", expected="a folder for the run")
    if not path.is_dir():
        return
    others = [one.name for one in path.iterdir() if not _begins_a_run(one.name)]
    if others and not (path / "run.json").is_file():  # looked for last: it may just have come
        raise UsageError(
            f"--out {path} holds other files and no benchmark run",
            expected="a new folder, or one of an earlier run",
        )


def _begins_a_run(name: str) -> bool:
    """Whether `RunFolder.begin` leaves a file of this name, or writes it for a moment."""
    return name in (*FOLDERS, ".gitignore") or name.startswith((".gitignore.", ".run.json."))


def now() -> str:
    """The time, to the second, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
