"""Length alone: a defect verdict from how long the function is, without reading it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from codeprompt.bench.baselines.base import Answers, Ask, Baseline, labelled
from codeprompt.types import Example, Prediction


def sizes(rows: Sequence[Example]) -> list[list[float]]:
    """Logarithms of characters, words and lines."""
    codes = [row.fields["code"] for row in rows]
    return [
        [math.log1p(n) for n in (len(code), len(code.split()), code.count("\n"))] for code in codes
    ]


def fit(ask: Ask) -> Answers:
    """A logistic regression on three lengths."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(sizes(ask.train), [row.target for row in ask.train])
    return classifier(ask, model, sizes)


def classifier(ask: Ask, model: object, features: object) -> Answers:
    """Answers of a scikit-learn classifier."""

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        found = model.predict_proba(features(rows))  # type: ignore[attr-defined, operator]
        labels = [str(name) for name in model.classes_]  # type: ignore[attr-defined]
        positive = ask.task.positive or labels[-1]
        out = []
        for row in found:
            chances = dict(zip(labels, row, strict=True))
            label = max(chances, key=lambda name: chances[name])
            out.append(labelled(ask.task, label, float(chances.get(positive, 0.0))))
        return out

    return answer


BASELINE = Baseline(kinds=("classify",), fit=fit, learns=True)
