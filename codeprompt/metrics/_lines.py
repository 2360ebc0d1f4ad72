"""Items of token labelling: every line with what it scores, and whether it is to blame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeprompt.errors import DataError
from codeprompt.lines import Ranking, read_lines, read_ranking
from codeprompt.metrics.base import Array, Item

Lines = tuple[Array, NDArray[np.bool_]]


def read(item: Item) -> tuple[Ranking, frozenset[int]]:
    """An item's ranking and its lines to blame. Raises `DataError` where either is no such text."""
    try:
        return read_ranking(item.prediction), read_lines(item.references[0])
    except DataError as error:
        where = f" ('{item.id}')" if item.id else ""
        raise DataError(f"{error.found}{where}", expected=error.expected) from error


def scored(item: Item) -> Lines:
    """Scores [N] and truth [N] of one item's lines; a line to blame that no score names is last."""
    ranking, wanted = read(item)
    lines = [*ranking.scores, *sorted(wanted - ranking.scores.keys())]
    scores = np.array([ranking.scores.get(line, -1.0) for line in lines], dtype=np.float64)
    return scores, np.array([line in wanted for line in lines], dtype=bool)


def check_any(truths: Sequence[NDArray[np.bool_]], name: str) -> None:
    """Raise `DataError` where no item has both a line to blame and another."""
    if not any(bool(t.any()) and not bool(t.all()) for t in truths):
        raise DataError(
            f"{name} is undefined: no item has both lines to blame and others",
            expected="references that name lines, and predictions that rank all lines",
        )


def top(item: Item, k: int) -> float:
    """1 where one of an item's first k lines is to blame, else 0."""
    ranking, wanted = read(item)
    first = sorted(ranking.scores, key=lambda line: (-ranking.scores[line], line))[:k]
    return float(any(line in wanted for line in first))
