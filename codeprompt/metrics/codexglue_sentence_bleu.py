"""CodeXGLUE's smoothed sentence BLEU-4 for summaries, mean over items, 0-100.

The definition of CodeXGLUE's Code-Text evaluator, digit for digit: lower-cased; punctuation and the
underscore split off (its word split followed by NIST mteval-v11a's leaves exactly runs of letters
and digits, and single other characters); matches and possible matches of orders 2-4 each plus one
(Lin and Och 2004); brevity exp(min(0, 1 - (ref + 1) / (hyp + 1))); with several references, clipped
by their maximum and measured against the shortest. An empty prediction is not worth nothing here
but exp(-ref): the original's brevity penalty alone.
We differ in one place: a tab is white space, where their file format cuts the prediction there.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence

from codeprompt.metrics._ngrams import ORDER, matches
from codeprompt.metrics.base import Item, Measure, Measured, mean_of

TOKEN = re.compile(r"[^\W_]+|\S")


def tokens(text: str) -> list[str]:
    """Lower-cased words: runs of letters and digits, and every other visible character alone."""
    return TOKEN.findall(text.lower())


def sentence_bleu(prediction: str, references: Sequence[str]) -> float:
    """Smoothed BLEU-4 of one text, 0..1."""
    words = tokens(prediction)
    wanted = [tokens(reference) for reference in references]
    hits, possible = matches(words, wanted)
    tiny = sys.float_info.min  # the original's way out of log(0)
    logarithm = 0.0
    for order in range(ORDER):
        plus = 1 if order else 0
        logarithm += math.log(hits[order] + plus + tiny) - math.log(possible[order] + plus + tiny)
    shortest = min(len(reference) for reference in wanted)
    brevity = min(0, 1 - float(shortest + 1) / (len(words) + 1))
    return math.exp(logarithm / ORDER + brevity)


def measure(items: Sequence[Item], positive: str | None, language: str | None) -> Measured:
    """The mean of `sentence_bleu` over items, times 100."""
    fractions = [sentence_bleu(item.prediction, item.references) for item in items]
    return mean_of(fractions, ("case:lc", "tok:mteval-v11a", "smooth:add1-2..4", "ref:shortest"))


METRIC = Measure(name="codexglue-sentence-bleu", kinds=("generate",), measure=measure)
