"""Near-duplicate code: shingles of five tokens compared by Jaccard similarity, exactly.

The self-join uses prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007, "AllPairs"): with
every text's shingles ordered from rare to frequent, two texts of similarity >= t must share one of
the first |x| - ceil(t |x|) + 1 of them. So only rare shingles are indexed, and nothing is missed,
as MinHash would. The position of the first shared shingle bounds the similarity (Xiao et al. 2008,
"PPJoin").
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOKEN = re.compile(r"\w+|[^\w\s]")
WIDTH = 5
NEAR = 0.7
Index = dict[int, list[tuple[int, int]]]  # shingle to texts that have it early, and where


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of `test` stands in `train`, in rows of `test`; `near` includes the exact ones."""

    rows: int
    exact: int
    near: int
    threshold: float


def normalise(text: str) -> str:
    """`text` without white space: the form in which two texts are exact duplicates."""
    return "".join(text.split())


def shingles(text: str, width: int = WIDTH) -> frozenset[tuple[str, ...]]:
    """Runs of `width` tokens; a shorter text is one run; nothing for blank text."""
    tokens = TOKEN.findall(text)
    if not tokens:
        return frozenset()
    count = max(1, len(tokens) - width + 1)
    return frozenset(tuple(tokens[at : at + width]) for at in range(count))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[int]:
    """Indices to drop, in order: each is an exact or near copy of an earlier one that is kept.

    texts: code or prose. threshold: Jaccard similarity from which two texts are the same, in
    (0, 1]. Blank texts equal each other only.
    """
    sets = _ranked(texts)
    index: Index = defaultdict(list)
    dropped: list[int] = []
    seen: set[str] = set()
    for at, text in enumerate(texts):
        exact = normalise(text)
        ranks = sets[at]
        if exact in seen or _has_near(ranks, sets, index, threshold):
            dropped.append(at)
            continue
        seen.add(exact)
        _add(at, ranks, index, threshold)
    return dropped


def overlap(train: Sequence[str], test: Sequence[str], threshold: float = 0.8) -> Overlap:
    """How many texts of `test` stand in `train`, white space apart and nearly."""
    sets = _ranked([*train, *test])
    index: Index = defaultdict(list)
    for at in range(len(train)):
        _add(at, sets[at], index, threshold)
    known = {normalise(text) for text in train}
    exact = near = 0
    for at, text in enumerate(test, start=len(train)):
        same = normalise(text) in known
        exact += same
        near += same or _has_near(sets[at], sets, index, threshold)
    return Overlap(len(test), exact, near, threshold)


def _add(at: int, ranks: list[int], index: Index, threshold: float) -> None:
    for place, rank in enumerate(_prefix(ranks, threshold)):
        index[rank].append((at, place))


def _prefix(ranks: list[int], threshold: float) -> list[int]:
    """The rarest shingles, of which a near-duplicate must hold one."""
    return ranks[: len(ranks) - math.ceil(threshold * len(ranks) - 1e-9) + 1] if ranks else []


def _has_near(ranks: list[int], sets: list[list[int]], index: Index, threshold: float) -> bool:
    """Whether an indexed text is at least `threshold` similar."""
    own: set[int] | None = None
    tried: set[int] = set()
    size = len(ranks)
    for place, rank in enumerate(_prefix(ranks, threshold)):
        for other, other_place in index.get(rank, ()):
            if other in tried:
                continue
            tried.add(other)
            length = len(sets[other])
            needed = threshold / (1 + threshold) * (size + length) - 1e-9
            # The first shingle in common is the rarest one: nothing before it is shared.
            if min(size - place, length - other_place) < needed:
                continue
            own = own if own is not None else set(ranks)
            if len(own.intersection(sets[other])) >= needed:
                return True
    return False


def _ranked(texts: Iterable[str]) -> list[list[int]]:
    """Each text's shingles as ranks of frequency, rare first.

    Tokens are numbered and five numbers are mixed into 64 bits; among a million shingles the
    odds of one collision are about 3e-8.
    """
    import numpy as np

    numbers: dict[str, int] = {}
    hashed: list[NDArray[np.uint64]] = [_hashes(text, numbers) for text in texts]
    if not hashed:
        return []
    lengths = [len(part) for part in hashed]
    _, inverse, counts = np.unique(np.concatenate(hashed), return_inverse=True, return_counts=True)
    order = np.argsort(counts, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return list(_cut(rank[inverse], lengths))


def _cut(ranks: Any, lengths: list[int]) -> Iterator[list[int]]:
    start = 0
    for length in lengths:
        part = ranks[start : start + length]
        part.sort()
        yield part.tolist()
        start += length


def _hashes(text: str, numbers: dict[str, int]) -> NDArray[np.uint64]:
    """The distinct shingles of one text as 64-bit numbers."""
    import numpy as np

    tokens = TOKEN.findall(text)
    ids = np.fromiter(
        (numbers.setdefault(token, len(numbers) + 1) for token in tokens),
        dtype=np.uint64,
        count=len(tokens),
    )
    if not len(ids):
        return ids
    width = min(WIDTH, len(ids))
    mixed = np.zeros(len(ids) - width + 1, dtype=np.uint64)
    for at in range(width):
        mixed = (mixed ^ ids[at : at + len(mixed)]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)
