"""The answer of the shot that BM25 finds nearest (Robertson's, k1 1.5, b 0.75, as `bm25s` has it).

Words are the parts of names, lower-cased. A classifying task gets the nearest shots' vote.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeprompt.bench.baselines.base import Answers, Ask, Baseline, labelled
from codeprompt.bench.baselines.function_name import words
from codeprompt.types import Example, Prediction

K1, B = 1.5, 0.75
MOST_WORDS = 400
NEIGHBOURS = 5


class Bm25:
    """Scores of every known text for a query: idf ln(1 + (N - n + 0.5) / (n + 0.5)).

    Postings in memory, 16 bytes for each word of a text: enough for a few hundred thousand texts.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        mean = sum(map(len, texts)) / max(1, len(texts)) or 1.0
        self.size = len(texts)
        at_places: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        weights: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        for at, text in enumerate(texts):
            norm = K1 * (1 - B + B * len(text) / mean)
            for word, count in Counter(text).items():
                at_places[word].append(at)
                weights[word].append(count * (K1 + 1) / (count + norm))
        self.postings: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        for word, listed in at_places.items():
            idf = math.log(1 + (self.size - len(listed) + 0.5) / (len(listed) + 0.5))
            self.postings[word] = np.array(listed), idf * np.array(weights[word])

    def scores(self, query: Sequence[str]) -> NDArray[np.float64]:
        """One score a text, [N]."""
        out = np.zeros(self.size)
        for word, count in Counter(query).items():
            if word in self.postings:
                places, weights = self.postings[word]
                out[places] += count * weights
        return out


def read(row: Example) -> list[str]:
    """The words of a row's code."""
    return words(row.fields["code"])[:MOST_WORDS]


def fit(ask: Ask) -> Answers:
    """Index the shots."""
    index = Bm25([read(row) for row in ask.train])
    labels = ask.task.labels

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        out = []
        for row in rows:
            scores = index.scores(read(row))
            if ask.task.kind == "generate":
                out.append(Prediction(ask.train[int(scores.argmax())].target, 0.0))
                continue
            near = np.argsort(-scores, kind="stable")[:NEIGHBOURS]
            votes = Counter(ask.train[int(at)].target for at in near)
            label = max(labels, key=lambda name: votes[name])
            share = votes[ask.task.positive or label] / len(near)
            out.append(labelled(ask.task, label, share))
        return out

    return answer


BASELINE = Baseline(kinds=("generate", "classify"), fit=fit, learns=True)
