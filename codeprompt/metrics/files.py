"""Predictions and references from files: one item a line, or JSONL with `text`, `label`, `score`.

A file is JSONL by its suffix (`.jsonl`, `.json`). Lines of other files end as Python's text mode
ends them (\\n, \\r\\n, \\r), as in the original evaluators; an empty line is an empty item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from codeprompt.errors import DataError
from codeprompt.metrics.base import Item, pair
from codeprompt.types import Kind

JSON_SUFFIXES = (".jsonl", ".json")


class Row(msgspec.Struct, frozen=True):
    """One line of a JSONL file; a reference may hold several texts."""

    text: str | list[str] | None = None
    label: str | int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of any file."""

    texts: tuple[str, ...]
    score: float | None = None


def read_items(predictions: Path, references: Path, kind: Kind) -> list[Item]:
    """Items from a file of predictions and a file of references, line by line.

    kind: what the metric measures; decides between `label` and `text` where a line has both.
    Raises `DataError` for files that are missing, empty, not UTF-8, malformed or of other lengths.
    """
    found, wanted = read_answers(predictions, kind), read_answers(references, kind)
    for line, answer in enumerate(found, start=1):
        if len(answer.texts) != 1:
            raise DataError(f"{predictions} line {line} holds {len(answer.texts)} texts")
    if len(found) != len(wanted):
        raise DataError(
            f"{predictions} has {len(found)} items and {references} has {len(wanted)}",
            expected="one reference for each prediction, in the same order",
        )
    return pair(
        [answer.texts[0] for answer in found],
        [answer.texts for answer in wanted],
        [answer.score for answer in found],
    )


def read_answers(path: Path, kind: Kind) -> list[Answer]:
    """All lines of a file. Raises `DataError`."""
    lines = _lines(path)
    if path.suffix.lower() not in JSON_SUFFIXES:
        return [Answer((line,)) for line in lines]
    answers = [
        _answer(path, number, line, kind)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not answers:
        raise DataError(f"{path} is empty", expected="one JSON object or more")
    return answers


def _lines(path: Path) -> Sequence[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise DataError(f"{path} is empty", expected="one item or more")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}",
            do="Save it as UTF-8",
        ) from error
    if "\0" in text:
        raise DataError(f"{path} is not text: it holds NUL bytes", expected="UTF-8 text")
    # Not str.splitlines: it would also end lines at form feeds and U+2028 inside an item.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _answer(path: Path, number: int, line: str, kind: Kind) -> Answer:
    try:
        row = msgspec.json.decode(line, type=Row)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{path} line {number}: {error}",
            expected='an object with "text" or "label", and for some metrics "score"',
        ) from error
    label = None if row.label is None else str(row.label)
    first, second = (label, row.text) if kind == "classify" else (row.text, label)
    value = second if first is None else first
    if value is None or value == []:
        raise DataError(f'{path} line {number} has neither "text" nor "label"')
    return Answer((value,) if isinstance(value, str) else tuple(value), row.score)
