"""What a summary costs without a trained model: the name, a copy, the nearest neighbour's summary.

And what a defect verdict costs without reading: the length of the function, its bag of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.backbone.corpus import read_rows
from benchmarks.backbone.shards import HELD_OUT, join_tokens, name_words
from codeprompt.types import Example

WORD = re.compile(r"[A-Za-z_]\w*")
DEFINED = re.compile(r"\bdef\s+(\w+)|(\w+)\s*\(")
MOST_WORDS = 200


def own_names(examples: Iterable[Example]) -> list[str]:
    """The function's own name, split into words, as its summary."""
    out = []
    for example in examples:
        found = DEFINED.search(example.fields["code"])
        name = (found[1] or found[2]) if found else ""
        out.append(" ".join(name_words(name)).capitalize() + " .")
    return out


def words_of(code: str) -> list[str]:
    """The words of all names in a piece of code, lower-cased; what retrieval compares."""
    names = WORD.findall(code)[:MOST_WORDS]
    return [word for name in names for word in name_words(name)]


def pairs_of(corpus: Path) -> Iterator[tuple[list[str], str]]:
    """Words and summary of every documented function that is trained on."""
    for row in read_rows(corpus):
        if row.summary and row.package not in HELD_OUT:
            yield words_of(join_tokens(row.code, row.language)), row.summary


def nearest(pairs: Iterable[tuple[list[str], str]], examples: Sequence[Example]) -> list[str]:
    """The summary of the function that BM25 finds nearest to each example (bm25s, k1 1.5, b 0.75).

    Needs the package `bm25s`.
    """
    import bm25s

    ids: dict[str, int] = {}
    documents: list[list[int]] = []
    summaries: list[str] = []
    for words, summary in pairs:
        documents.append([ids.setdefault(word, len(ids)) for word in words])
        summaries.append(summary)
    index = bm25s.BM25()
    index.index(bm25s.tokenization.Tokenized(ids=documents, vocab=ids), show_progress=False)
    out = []
    for example in examples:
        query = [ids[word] for word in words_of(example.fields["code"]) if word in ids]
        scores = index.get_scores_from_ids(query) if query else np.zeros(1)
        out.append(summaries[int(np.argmax(scores))])
    return out


def defects(train: Sequence[Example], test: Sequence[Example]) -> dict[str, list[str]]:
    """Verdicts by length alone and by bag of words, learned from `train`."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def sizes(rows: Sequence[Example]) -> list[list[int]]:
        codes = [row.fields["code"] for row in rows]
        return [[len(code), len(code.split()), code.count("\n")] for code in codes]

    labels = [row.target for row in train]
    length = HistGradientBoostingClassifier(max_depth=3, max_iter=60, random_state=0)
    length.fit(sizes(train), labels)
    bag = make_pipeline(
        TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", sublinear_tf=True, min_df=3),
        LogisticRegression(C=1.0, max_iter=300),
    )
    bag.fit([row.fields["code"] for row in train], labels)
    return {
        "never": ["clean"] * len(test),
        "length alone": [str(label) for label in length.predict(sizes(test))],
        "bag of words": [str(v) for v in bag.predict([row.fields["code"] for row in test])],
    }
