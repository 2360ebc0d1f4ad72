"""Answers about lines as text: the lines that are told, then the others, most suspicious first.

`3:0.81 7:0.64 | 12:0.1 1:0.02`: lines count from 1 within the function; what stands before the bar
is told as defective. A reference, or a list from elsewhere, is lines alone: `3 7`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from codeprompt.errors import DataError

_ENTRY = re.compile(r"(\d+)(?::(\d*\.?\d+(?:e-?\d+)?))?")


@dataclass(frozen=True)
class Ranking:
    """Lines with what they score; told: those at or above the threshold.

    scores: in the order of the text, most suspicious first.
    """

    scores: Mapping[int, float]
    told: frozenset[int]

    @staticmethod
    def of(scores: Mapping[int, float], threshold: float) -> Ranking:
        """The ranking of lines by probability."""
        order = sorted(scores, key=lambda line: (-scores[line], line))
        told = frozenset(line for line in order if scores[line] >= threshold)
        return Ranking({line: scores[line] for line in order}, told)

    def __str__(self) -> str:
        def some(told: bool) -> str:
            lines = [n for n in self.scores if (n in self.told) == told]
            return " ".join(f"{n}:{self.scores[n]:.4g}" for n in lines)

        return f"{some(True)} | {some(False)}".strip()


def read_ranking(text: str) -> Ranking:
    """The inverse of `str`. Lines without a score are ranked as they stand.

    Raises `DataError` on anything but numbers of lines.
    """
    scores: dict[int, float] = {}
    told: set[int] = set()
    first, _, rest = text.partition("|")
    entries = [(entry, True) for entry in first.split()] + [(e, False) for e in rest.split()]
    for place, (entry, is_told) in enumerate(entries):
        found = _ENTRY.fullmatch(entry)
        if found is None or int(found[1]) < 1:
            raise DataError(
                f"'{entry}' names no line",
                expected="lines from 1 with their scores, such as '3:0.81 7:0.64 | 12:0.1', or "
                "lines alone, such as '3 7'",
            )
        line = int(found[1])
        scores.setdefault(line, float(found[2]) if found[2] else 1.0 - place / len(entries))
        told |= {line} if is_told else set()
    return Ranking(scores, frozenset(told))


def read_lines(text: str) -> frozenset[int]:
    """The lines of a reference; none for an empty text. Raises `DataError`."""
    return read_ranking(text).told
