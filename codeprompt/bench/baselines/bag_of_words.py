"""A bag of words: a logistic regression on TF-IDF of names and signs (scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence

from codeprompt.bench.baselines.base import Answers, Ask, Baseline
from codeprompt.bench.baselines.length import classifier
from codeprompt.types import Example

WORD = r"\w+|[^\w\s]"


def texts(rows: Sequence[Example]) -> list[str]:
    """The code of each row."""
    return [row.fields["code"] for row in rows]


def fit(ask: Ask) -> Answers:
    """TF-IDF with logarithmic counts; a word must stand in two shots, in three of many."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    least = 1 if len(ask.train) < 20 else 2 if len(ask.train) < 1000 else 3
    model = make_pipeline(
        TfidfVectorizer(token_pattern=WORD, sublinear_tf=True, min_df=least),
        LogisticRegression(C=1.0, max_iter=1000),
    )
    model.fit(texts(ask.train), [row.target for row in ask.train])
    return classifier(ask, model, texts)


BASELINE = Baseline(kinds=("classify",), fit=fit, learns=True)
