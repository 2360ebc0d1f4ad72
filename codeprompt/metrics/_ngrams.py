"""n-gram counts and clipped matches for the BLEU metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ORDER = 4


def counts(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often each n-gram of 1..4 words occurs."""
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, ORDER + 1)
        for start in range(len(words) - order + 1)
    )


def matches(
    words: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[int], list[int]]:
    """Clipped matches and possible matches of each order, against the best of all references."""
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= counts(reference)
    hits = [0] * ORDER
    for gram, count in (counts(words) & most).items():
        hits[len(gram) - 1] += count
    return hits, [max(len(words) - order, 0) for order in range(ORDER)]
