"""A job's progress as JSON lines in a file: the trainer appends, any number of readers follow.

A line's number is the event's id, so a reader that comes back says which it saw last. What ended a
job is no line: the database knows it, and the follower tells it as the last event.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from codeprompt.errors import CodepromptError, TrainingError
from codeprompt.files import write_bytes

TAIL = 8192
"""Bytes that hold the newest line for certain."""


@dataclass(frozen=True)
class Event:
    """One thing a job told.

    kind: `started`, `progress`, `resumed`, and at the end `done`, `failed` or `cancelled`.
    """

    id: int
    kind: str
    data: dict[str, Any]


class Line(msgspec.Struct):
    """An event as it stands in the file."""

    kind: str
    at: float
    data: dict[str, Any]


class Writer:
    """Appends events; a line that a crash cut is taken off first. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115  # as long as the trainer lives
        whole = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, whole)

    def write(self, kind: str, at: float, **data: Any) -> None:
        """One line, in one write."""
        self.file.write(msgspec.json.encode(Line(kind, at, data)) + b"\n")

    def close(self) -> None:
        """No more lines."""
        self.file.close()


class Reader:
    """Reads the whole lines that were added since it last looked."""

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path, self.after = path, after
        self.seen, self.place = 0, 0

    def __iter__(self) -> Iterator[Event]:
        """Events with an id above `after` that it has not given yet."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.place)
                text = file.read()
        except FileNotFoundError:
            return
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            self.place += len(line)
            self.seen += 1
            if self.seen > self.after:
                found = msgspec.json.decode(line, type=Line)
                yield Event(self.seen, found.kind, found.data)


def newest(path: Path, kind: str = "progress") -> dict[str, Any] | None:
    """The data of the newest event of a kind, None where the end of the file has none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines[:-1]):
        if line.startswith(b'{"kind":"%s"' % kind.encode()) and line.endswith(b"}"):
            return msgspec.json.decode(line, type=Line).data
    return None


def write_failure(folder: Path, code: str, message: str) -> None:
    """What the trainer could not go on from, for the supervisor."""
    write_bytes(folder / "failure.json", msgspec.json.encode([code, message]))


def read_failure(folder: Path) -> tuple[str, CodepromptError] | None:
    """The code and the error that a trainer left; None where it left none."""
    try:
        text = (folder / "failure.json").read_bytes()
        code, message = msgspec.json.decode(text, type=tuple[str, str])
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return code, TrainingError(message)
