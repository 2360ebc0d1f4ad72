"""Which requests share a batch: rows of like length, within a budget of padded tokens."""

from __future__ import annotations

from collections.abc import Sequence

ROWS = 16
"""Rows at most: past this a batch on two cores gains nothing a row (benchmarks/speed)."""
CHARACTERS = 32_768
"""Rows times the longest row's characters; about 8,000 tokens of code."""


def plan_batches(
    lengths: Sequence[int], *, rows: int = ROWS, characters: int = CHARACTERS
) -> list[list[int]]:
    """Indices in batches, longest first, so that the costliest batch shows the peak at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        widest = lengths[batches[-1][0]] if batches else 0
        last = batches[-1] if batches else None
        if last is None or len(last) >= rows or (len(last) + 1) * widest > characters:
            batches.append([i])
        else:
            last.append(i)
    return batches
