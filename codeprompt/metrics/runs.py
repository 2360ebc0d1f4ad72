"""A run: every item's prediction of one evaluation, in one JSON file.

`codeprompt eval --out RUN.json` writes it, `codeprompt compare` reads two of them. Written
atomically; read with every field checked.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from codeprompt.errors import DataError
from codeprompt.files import write_bytes
from codeprompt.metrics.base import Item
from codeprompt.types import Score

VERSION = 1


class RunItem(msgspec.Struct, frozen=True):
    """One row: its id within the data, the answer, what was right, and the answer's score."""

    id: str
    prediction: str
    references: tuple[str, ...]
    score: float | None = None


class RunScore(msgspec.Struct, frozen=True):
    """A `Score` as `Score.as_json` shows it."""

    metric: str
    value: float
    n: int
    signature: str
    interval: tuple[float, float] | None = None
    parts: dict[str, float] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One pack on one split.

    task, pack, backbone: names or ids with hashes, as the pack's card has them.
    data: the data's fingerprint; split: which part of it.
    signature: all that was fixed in the evaluation (decoding, lengths, versions).
    positive, language: what the metrics need beside the items.
    """

    version: int = VERSION
    task: str
    pack: str
    backbone: str
    data: str
    split: str
    items: tuple[RunItem, ...]
    scores: tuple[RunScore, ...] = ()
    signature: str = ""
    positive: str | None = None
    language: str | None = None


def run_score(score: Score) -> RunScore:
    """A score as a run keeps it."""
    return RunScore(
        metric=score.metric,
        value=score.value,
        n=score.n,
        signature=score.signature,
        interval=None if math.isnan(score.low) else (score.low, score.high),
        parts=dict(score.parts),
    )


def run_items(run: Run) -> list[Item]:
    """What a metric takes."""
    return [
        Item(prediction=row.prediction, references=row.references, score=row.score, id=row.id)
        for row in run.items
    ]


def write_run(path: Path, run: Run) -> None:
    """Write a run, whole or not at all. Raises `CodepromptError` where it cannot be written."""
    write_bytes(path, msgspec.json.encode(run) + b"\n")


def read_run(path: Path) -> Run:
    """Read a run. Raises `DataError` for a file that is missing, cut, of another kind or newer."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        run = msgspec.json.decode(data, type=Run)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a run: {error}",
            expected="a file that `codeprompt eval --out` wrote",
        ) from error
    if run.version != VERSION:
        raise DataError(
            f"{path} is a run of version {run.version}",
            expected=f"version {VERSION}",
            do="Evaluate the pack again with this version of codeprompt",
        )
    ids = {row.id for row in run.items}
    if len(ids) < len(run.items):
        raise DataError(f"{path} has {len(run.items)} rows but only {len(ids)} different ids")
    return run
