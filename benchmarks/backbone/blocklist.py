"""The committed block list: what test data holds, as hashes that give nothing of it away.

Of every function of the test data: 8 bytes of its white-space-free text, and the 16 smallest hashes
of its 5-token shingles (a bottom-k sketch, Broder 1997), of which the likeness of two functions is
told from a file of a few megabytes. A sketch's likeness of 0.7 errs by 0.11, so that 0.5 is already
refused here; the exact search over the texts themselves is `exclude.Blocklist`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.backbone.exclude import fingerprint, hashes_of
from codeprompt.errors import DataError
from codeprompt.files import atomic_path

PATH = Path(__file__).with_name("blocklist.npz")
KEPT = 16
ENOUGH = 0.5
MARK = 8  # bytes of the text's fingerprint


def sketch(text: str) -> NDArray[np.uint32]:
    """The smallest distinct shingle hashes, sorted; fewer than `KEPT` where there are no more."""
    return np.unique(hashes_of(text))[:KEPT]


def likeness(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """The estimated Jaccard likeness of the two sets behind two sketches."""
    union = np.union1d(a, b)[: max(len(a), len(b))]
    both = np.isin(union, a) & np.isin(union, b)
    return float(both.sum() / len(union)) if len(union) else 0.0


class Sketches:
    """Functions that may not be learned from, by their sketches; ask `reason(code)`.

    marks [N] uint64; hashes [N,16] uint32, filled up with the largest value.
    """

    FILL = np.uint32(0xFFFFFFFF)

    def __init__(self, marks: NDArray[np.uint64], hashes: NDArray[np.uint32]) -> None:
        self.marks, self.hashes = marks, hashes
        self.exact = set(marks.tolist())
        self.places: defaultdict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(hashes.tolist()):
            for value in row:
                if value != self.FILL:
                    self.places[value].append(index)

    @staticmethod
    def of(texts: Iterable[str]) -> Sketches:
        """The sketches of some texts, equal ones once."""
        found = {mark_of(text): sketch(text) for text in texts}
        hashes = np.full((len(found), KEPT), Sketches.FILL, np.uint32)
        for index, row in enumerate(found.values()):
            hashes[index, : len(row)] = row
        order = np.argsort(np.fromiter(found, np.uint64, len(found)))
        return Sketches(np.fromiter(found, np.uint64, len(found))[order], hashes[order])

    @staticmethod
    def load(path: Path = PATH) -> Sketches:
        """The committed list. Raises `DataError` where there is none."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                return Sketches(kept["marks"], kept["hashes"])
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{path} is no block list: {error}",
                do="Write it with `python -m benchmarks.backbone block`",
            ) from None

    def save(self, path: Path = PATH) -> None:
        """Write the file."""
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, marks=self.marks, hashes=self.hashes)

    def holds(self, code: str) -> bool:
        """Whether the very text is in the list, white space aside."""
        return mark_of(code) in self.exact

    def reason(self, code: str) -> str:
        """`exact`, `near`, or nothing where the code may be used."""
        if self.holds(code):
            return "exact"
        own = sketch(code)
        shared: defaultdict[int, int] = defaultdict(int)
        for value in own.tolist():
            for index in self.places.get(value, ()):
                shared[index] += 1
        for index, count in shared.items():
            row = self.hashes[index]
            other = row[row != self.FILL]
            fewest = ENOUGH * min(len(own), len(other))
            if count >= fewest and likeness(own, other) >= ENOUGH:
                return "near"
        return ""


def mark_of(text: str) -> int:
    """Eight bytes of the fingerprint as a number."""
    return int.from_bytes(fingerprint(text)[:MARK], "little")
