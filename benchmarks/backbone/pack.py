"""A corpus packed for a machine that can be given little: text, compressed, under a size.

Held-out packages and documented functions go first, then half of the others, until the size is
reached. The other end tokenises it (`tokenize --corpus FILE`), which costs a minute on many cores
and saves half of the bytes that ready-made shards would take.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.backbone.corpus import Row, read_rows
from benchmarks.backbone.shards import HELD_OUT
from codeprompt.errors import UsageError
from codeprompt.files import atomic_path

CHUNK = 16_000_000  # characters compressed together; the file is a row of xz streams


def ordered(corpus: Path, seed: int = 1) -> Iterator[Row]:
    """Held-out packages whole, then documented functions, then the others."""
    random = Random(seed)
    rows = list(read_rows(corpus))
    ranks = [(r.package not in HELD_OUT, not r.summary, random.random()) for r in rows]
    # Within a rank whole packages stay together: likeness is what compresses.
    for number in sorted(range(len(rows)), key=lambda n: (ranks[n][:2], rows[n].package)):
        if rows[number].summary or not ranks[number][0] or ranks[number][2] < 0.5:
            yield rows[number]


def pack(corpus: Path, out: Path, limit: int = 60_000_000, preset: int = 6) -> dict[str, int]:
    """Write `out` (.jsonl.xz) of at most `limit` bytes; returns rows, characters and bytes."""
    if not out.name.endswith(".jsonl.xz"):
        raise UsageError(f"{out} is no place for a packed corpus", expected="a name in .jsonl.xz")
    written = kept = characters = 0
    with atomic_path(out) as temporary, temporary.open("wb") as handle:
        for lines in _chunks(ordered(corpus)):
            data = lzma.compress("".join(lines).encode(), preset=preset)
            if written + len(data) > limit:
                break
            handle.write(data)
            written, kept = written + len(data), kept + len(lines)
            characters += sum(map(len, lines))
    return {"rows": kept, "characters": characters, "bytes": written}


def _chunks(rows: Iterator[Row]) -> Iterator[list[str]]:
    lines: list[str] = []
    size = 0
    for row in rows:
        lines.append(
            json.dumps([row.language, row.name, row.code, row.summary, row.package]) + "\n"
        )
        size += len(lines[-1])
        if size >= CHUNK:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
