"""The best constant sentence: what one sentence for every function scores, found by search.

The search climbs the smoothed BLEU of the tuning rows: from the best of some given sentences, by
putting in, replacing and leaving out single words, until none of it helps. Counting n-grams of all
references once makes a candidate cheap; the figures are `codexglue-sentence-bleu`'s own.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codeprompt.metrics._ngrams import ORDER
from codeprompt.metrics.codexglue_sentence_bleu import tokens

Words = tuple[str, ...]
LONGEST = 16


def ngrams(words: Sequence[str]) -> Counter[Words]:
    """Counts of all n-grams of orders 1 to 4."""
    return Counter(
        tuple(words[at : at + order])
        for order in range(1, ORDER + 1)
        for at in range(len(words) - order + 1)
    )


class References:
    """Rows that one sentence is measured against."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows = [tokens(text) for text in texts]
        self.lengths = np.array([len(row) for row in rows])
        self.words = Counter(word for row in rows for word in row)
        found: defaultdict[Words, list[tuple[int, int]]] = defaultdict(list)
        for index, row in enumerate(rows):
            for gram, count in ngrams(row).items():
                found[gram].append((index, count))
        self.places: dict[Words, NDArray[np.int64]] = {
            gram: np.array(places) for gram, places in found.items()
        }

    def score(self, words: Words) -> float:
        """Mean smoothed BLEU-4 of the sentence over all rows, 0..1."""
        hits = np.zeros((ORDER, len(self.lengths)))
        for gram, count in ngrams(words).items():
            places = self.places.get(gram)
            if places is not None:
                hits[len(gram) - 1, places[:, 0]] += np.minimum(places[:, 1], count)
        logarithm = np.zeros(len(self.lengths))
        tiny = sys.float_info.min
        for order in range(ORDER):
            plus = 1 if order else 0
            possible = max(0, len(words) - order)
            logarithm += np.log(hits[order] + plus + tiny) - np.log(possible + plus + tiny)
        brevity = np.minimum(0.0, 1 - (self.lengths + 1) / (len(words) + 1))
        return float(np.exp(logarithm / ORDER + brevity).mean())


def best_constant(references: Sequence[str], starts: int = 6, vocabulary: int = 120) -> str:
    """The sentence that scores best on the references, as space-joined words."""
    rows = References(references)
    common = [word for word, _ in rows.words.most_common(vocabulary)]
    sentences = {words for text in references if len(words := tuple(tokens(text))) <= LONGEST}
    ranked = sorted(sentences, key=lambda words: (-rows.score(words), words))
    best = max((_climb(rows, start, common) for start in ranked[:starts]), key=rows.score)
    return " ".join(best)


def _climb(rows: References, words: Words, common: Sequence[str]) -> Words:
    value = rows.score(words)
    while True:
        scored = [(rows.score(changed), changed) for changed in _changes(words, common)]
        top, changed = max(scored)
        if top <= value + 1e-9:
            return words
        value, words = top, changed


def _changes(words: Words, common: Sequence[str]) -> Iterator[Words]:
    for at in range(len(words) + 1):
        if at < len(words) and len(words) > 1:
            yield words[:at] + words[at + 1 :]
        for word in common:
            if len(words) < LONGEST:
                yield (*words[:at], word, *words[at:])
            if at < len(words):
                yield (*words[:at], word, *words[at + 1 :])
