"""Rankings of lines that need no model, and a pack's, under the task's metrics.

`random` is the mean over twenty draws; `first` and `longest` are what a reader might try; `words`
is naive Bayes over the words of a line, counted on the training rows: what a head could do without
a backbone.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

from codeprompt.lines import Ranking, read_lines
from codeprompt.metrics.base import Item, score_all
from codeprompt.registry import TASKS
from codeprompt.types import Example, Score

WORD = re.compile(r"\w+|[^\w\s]")
DRAWS = 20
SHARE = 0.1
"""Of a function's lines that a baseline tells."""
Scorer = Callable[[Sequence[str]], Sequence[float]]


def items_by(rows: Sequence[Example], scorer: Scorer) -> list[Item]:
    """Each function's lines as a scorer ranks them; blank lines are not asked about."""
    out = []
    for row in rows:
        lines = row.fields["code"].split("\n")
        numbers = [n for n, line in enumerate(lines, 1) if line.strip()]
        found = scorer([lines[n - 1] for n in numbers])
        scores = dict(zip(numbers, found, strict=True))
        told = sorted(scores, key=lambda n: -scores[n])[: math.ceil(SHARE * len(numbers))]
        low, high = min(found), max(found)
        span = (high - low) or 1.0
        ranking = Ranking({n: (scores[n] - low) / span for n in scores}, frozenset(told))
        out.append(Item(str(ranking), (row.target,), id=row.id))
    return out


def first(lines: Sequence[str]) -> list[float]:
    """From the top down."""
    return [-float(place) for place in range(len(lines))]


def longest(lines: Sequence[str]) -> list[float]:
    """By characters, without indentation."""
    return [float(len(line.strip())) for line in lines]


def words(train: Sequence[Example]) -> Scorer:
    """Naive Bayes: the mean log-odds of a line's words, add-one smoothed."""
    blamed, others = Counter[str](), Counter[str]()
    for row in train:
        wanted = read_lines(row.target)
        for number, line in enumerate(row.fields["code"].split("\n"), 1):
            (blamed if number in wanted else others).update(set(WORD.findall(line)))
    size = len(blamed | others)
    a, b = blamed.total() + size, others.total() + size

    def odds(word: str) -> float:
        return math.log((blamed[word] + 1) / a) - math.log((others[word] + 1) / b)

    def scorer(lines: Sequence[str]) -> list[float]:
        found = [set(WORD.findall(line)) for line in lines]
        return [sum(map(odds, some)) / max(1, len(some)) for some in found]

    return scorer


def scores_of(items: Sequence[Item], bootstrap: int = 1000) -> list[Score]:
    """All metrics of the task."""
    task = TASKS.get("localize")
    return score_all(task.metrics, items, positive=task.positive, bootstrap=bootstrap)


def chance(rows: Sequence[Example]) -> dict[str, float]:
    """Means over draws of a random ranking."""
    total = Counter[str]()
    for seed in range(DRAWS):
        draw = random.Random(seed)
        items = items_by(rows, lambda lines, draw=draw: [draw.random() for _ in lines])  # type: ignore[misc]
        for score in scores_of(items, bootstrap=0):
            total[score.metric] += score.value / DRAWS  # type: ignore[assignment]
    return dict(total)
