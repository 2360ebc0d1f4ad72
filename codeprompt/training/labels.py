"""What labelling lines needs of rows before a run, and from the dev rows after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codeprompt.errors import DataError
from codeprompt.lines import read_lines, read_ranking
from codeprompt.metrics.base import Item
from codeprompt.types import Example


def check_lines(rows: Sequence[Example], where: str) -> None:
    """Raise `DataError` where a reference names no lines, or lines that the code has not."""
    for place, row in enumerate(rows, 1):
        try:
            lines = read_lines(row.target)
        except DataError as error:
            raise DataError(
                f"{where}, row {place}: {error.found}",
                expected="the numbers of the lines to blame, such as '3 7'",
                do="Name the column that holds them with --columns target=COLUMN",
            ) from error
        size = row.fields.get("code", "").count("\n") + 1
        if lines and max(lines) > size:
            raise DataError(
                f"{where}, row {place}: line {max(lines)} is to blame, and the code has {size}",
                expected="lines counted from 1 within the code",
            )


def line_threshold(items: Sequence[Item]) -> float:
    """The probability from which on lines are told: the best F1 over the dev rows' lines.

    Ties go to the highest, the one that tells the fewest lines.
    """
    scores, truth, missed = list[float](), list[bool](), 0
    for item in items:
        ranking, wanted = read_ranking(item.prediction), read_lines(item.references[0])
        scores += ranking.scores.values()
        truth += [line in wanted for line in ranking.scores]
        missed += len(wanted - ranking.scores.keys())
    if not any(truth):
        return 0.5
    order = np.argsort(-np.array(scores), kind="stable")
    values, hits = np.array(scores)[order], np.cumsum(np.array(truth)[order])
    told = np.arange(1, len(values) + 1)
    f1 = 2.0 * hits / (told + hits[-1] + missed)
    ends = np.append(values[1:] < values[:-1], True)  # a threshold never cuts equal scores
    best = int(np.argmax(np.where(ends, f1, -1.0)))
    # Texts hold four digits: a hair lower, so that the line itself is told.
    return float(values[best]) * (1 - 1e-3)


def blamed_share(rows: Sequence[Example]) -> float:
    """How many of all lines are to blame."""
    lines = sum(row.fields.get("code", "").count("\n") + 1 for row in rows)
    return sum(len(read_lines(row.target)) for row in rows) / max(1, lines)
