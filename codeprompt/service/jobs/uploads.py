"""Data that clients sent for jobs: JSON lines, checked, with their fingerprint.

A file stands in `uploads/ID.jsonl`; the ID is the beginning of the fingerprint, the sha256 of the
bytes, so the same data is kept once. Written, synced, renamed, then its row is committed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import select

from codeprompt.errors import DataError, UnknownNameError
from codeprompt.files import write_bytes, write_error
from codeprompt.pack.card import MAX_DEPTH, depth
from codeprompt.service.state import Store
from codeprompt.service.state.models import DatasetRow

MAX_BYTES = 1 << 28
DIGITS = 16
LEAST_ROWS = 2
"""One to train on, one to select on."""


@dataclass(frozen=True)
class Upload:
    """Data that is here. id: for `upload:ID`. fingerprint: sha256 of the bytes."""

    id: str
    fingerprint: str
    rows: int
    bytes: int
    created: float


class Uploads:
    """The uploads of a `Store`; any thread may call any method."""

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.folder / "uploads"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
        except OSError as error:
            raise write_error(self.folder, error) from error

    def add(self, data: bytes) -> Upload:
        """Check and keep JSON lines. Raises `DataError` that names the line and never its text."""
        rows = check_lines(data)
        fingerprint = hashlib.sha256(data).hexdigest()
        name = fingerprint[:DIGITS]
        with self.store.lock:
            path = self.folder / f"{name}.jsonl"
            if not path.is_file() or path.stat().st_size != len(data):
                write_bytes(path, data)
                os.chmod(path, 0o600)
            with self.store.write() as session:
                row = session.get(DatasetRow, name)
                if row is None:
                    row = DatasetRow(id=name, fingerprint=fingerprint, rows=rows)
                    row.bytes, row.created = len(data), time.time()
                    session.add(row)
                return _upload(row)

    def list(self) -> list[Upload]:
        """All of them, newest first."""
        with self.store.read() as session:
            newest = select(DatasetRow).order_by(DatasetRow.created.desc())
            return [_upload(row) for row in session.scalars(newest)]

    def path(self, name: str) -> Path:
        """The file of an upload. Raises `UnknownNameError`, `DataError` where it was removed."""
        with self.store.read() as session:
            row = session.get(DatasetRow, name) if re.fullmatch(r"[0-9a-f]+", name) else None
            if row is None:
                raise UnknownNameError("upload", name, session.scalars(select(DatasetRow.id)))
        path = self.folder / f"{name}.jsonl"
        if not path.is_file():
            raise DataError(f"The file of the upload '{name}' is gone", do="Upload it again")
        return path

    def remove(self, name: str) -> None:
        """Forget an upload; a job that needs it fails when it goes on."""
        path = self.path(name)
        with self.store.lock:
            with self.store.write() as session:
                session.delete(session.get_one(DatasetRow, name))
            path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        with self.store.lock, self.store.read() as session:
            known = {f"{name}.jsonl" for name in session.scalars(select(DatasetRow.id))}
            for path in self.folder.iterdir():
                if path.name not in known:
                    path.unlink(missing_ok=True)


def check_lines(data: bytes) -> int:
    """How many rows there are. Raises `DataError` where a line is no JSON object."""
    if len(data) > MAX_BYTES:
        raise DataError(f"The data has {len(data):,} bytes", expected=f"at most {MAX_BYTES:,}")
    rows = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            if depth(line) > MAX_DEPTH:
                raise DataError(f"Line {number} is nested too deeply", expected=f"{MAX_DEPTH}")
            msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DataError(
                f"Line {number} of the data is no JSON object", expected="JSON lines in UTF-8"
            ) from None
        rows += 1
    if rows < LEAST_ROWS:
        raise DataError(f"The data has {rows} rows", expected=f"at least {LEAST_ROWS}")
    return rows


def _upload(row: DatasetRow) -> Upload:
    return Upload(row.id, row.fingerprint, row.rows, row.bytes, row.created)
