"""What commands print: answers on stdout, messages on stderr, JSON on one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from codeprompt.types import Score


def answer(value: Mapping[str, Any]) -> None:
    """One JSON object on one line on stdout. Not-a-number becomes null: JSON has none."""
    click.echo(as_line(value))


def as_line(value: Mapping[str, Any]) -> str:
    """A value as JSON on one line, in ASCII."""
    return json.dumps(plain(value), allow_nan=False)


def say(text: str) -> None:
    """A line of a readable answer on stdout."""
    click.echo(printable(text))


def note(text: str) -> None:
    """A message on stderr: progress, warnings, what was left out."""
    click.echo(printable(text), err=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns on stdout; numbers to the right. Never cut: it may be piped."""
    cells = [list(heads), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(heads))
    ]
    for row in cells:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        )
        say("  ".join(padded).rstrip())


def printable(text: str) -> str:
    """Text that any terminal takes: a file name that is not UTF-8 shows its bytes as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: Any) -> Any:
    """The same value with what JSON can say alone."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds as people read them: 4.2 s, 3:05, 1:02:33."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float) -> str:
    """A metric's value: four digits, and no 7.8e-78."""
    return f"{0 if abs(value) < 5e-5 else value:.4g}"


def scored(score: Score) -> str:
    """A score on one line: value, interval, number of items."""
    interval = f" [{number(score.low)}, {number(score.high)}]" if score.low == score.low else ""
    return f"{score.metric} {number(score.value)}{interval} (n = {score.n})"


def counts(left_out: Mapping[str, int]) -> str:
    """`3 x test file, 1 x generated file`, most first."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} x {reason}" for reason, count in ordered if count)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value) if math.isfinite(value) else "-"
    return "-" if value is None else str(value)
