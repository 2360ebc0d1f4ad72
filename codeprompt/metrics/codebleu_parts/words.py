"""n-gram match and keyword-weighted n-gram match, counted per item.

Words are split at white space and case is kept, as in the official script, so that its values come
out digit for digit; where code is not written with blanks between tokens, `{return` is one word and
no keyword. Both parts are the geometric mean of four ratios times a brevity penalty; a ratio
without a match counts 0.1 matches (Chen and Cherry 2014, method 1), and the part is 0 where not one
word matches.

- n-gram match: precision, clipped by the most of any reference (BLEU).
- weighted: recall over each reference in turn; single words count 1 where they are keywords, else
  0.2; longer n-grams are not weighted. The script's penalty takes each reference to be two words
  long (it measures the pair of words and weights), so there is none to speak of; kept, since recall
  counts what is missing anyway and published values have it so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from codeprompt.metrics._ngrams import ORDER, counts, matches
from codeprompt.metrics.base import Array

OTHERS = 0.2
EPSILON = 0.1
PAIR = 2.0  # the script's length of a reference beside its weights: of [words, weights], a list
WIDTH = 4 * ORDER + 3  # precision's and recall's matches and possible matches; three lengths


def count(prediction: str, references: Sequence[str], keywords: frozenset[str]) -> list[float]:
    """One item's statistics, [WIDTH], to be summed over items."""
    words = prediction.split()
    wanted = [reference.split() for reference in references]
    hits, possible = matches(words, wanted)
    found, total = [0.0] * ORDER, [0.0] * ORDER
    grams = counts(words)
    for reference in wanted:
        there = counts(reference)
        for order, (part, whole) in enumerate(_weighted(grams, there, keywords)):
            found[order] += part
            total[order] += max(1.0, whole)
    nearest = min((len(one) for one in wanted), key=lambda size: (abs(size - len(words)), size))
    return [
        *map(float, hits),
        *(max(1.0, float(number)) for number in possible),
        *found,
        *total,
        float(len(words)),
        float(nearest),
        PAIR,
    ]


def _weighted(
    grams: Counter[tuple[str, ...]], there: Counter[tuple[str, ...]], keywords: frozenset[str]
) -> list[tuple[float, float]]:
    """Of each order, the weight of a reference's n-grams found in the prediction, and of all."""
    found, total = [0.0] * ORDER, [0.0] * ORDER
    for gram, number in there.items():
        weight = OTHERS if len(gram) == 1 and gram[0] not in keywords else 1.0
        found[len(gram) - 1] += weight * min(number, grams[gram])
        total[len(gram) - 1] += weight * number
    return list(zip(found, total, strict=True))


def ratios(totals: Array) -> tuple[Array, Array]:
    """Totals [R, WIDTH] to n-gram match and weighted n-gram match, [R] each, 0..1."""
    blocks = [totals[:, start : start + ORDER] for start in range(0, 4 * ORDER, ORDER)]
    found, wanted, pairs = totals[:, 4 * ORDER :].T
    return (
        _bleu(blocks[0], blocks[1], _brevity(found, wanted)),
        _bleu(blocks[2], blocks[3], _brevity(found, pairs)),
    )


def _bleu(hits: Array, possible: Array, penalty: Array) -> Array:
    precisions = np.where(hits > 0, hits, EPSILON) / np.maximum(possible, 1e-300)
    value: Array = np.exp(np.log(precisions).mean(axis=1)) * penalty
    return np.where(hits[:, 0] > 0, value, 0.0)


def _brevity(found: Array, wanted: Array) -> Array:
    short = np.exp(1.0 - wanted / np.maximum(found, 1.0))
    return np.where(found > wanted, 1.0, np.where(found > 0, short, 0.0))
