"""What a metric is: items in, a `Score` with signature and interval out.

A metric measures once and can be asked again under weights: `Measured.resampled` takes how often
each item was drawn, so that a bootstrap never tokenises twice and two runs can share their draws
(`compare.py`). Intervals are 95% percentile bootstrap intervals over items (Efron 1979; Koehn 2004
for corpus scores).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codeprompt.errors import DataError
from codeprompt.registry import METRICS
from codeprompt.types import Kind, Score

Array = NDArray[np.float64]
CHUNK = 1 << 20  # weights held at once: 8 MB stays near the cache


@dataclass(frozen=True, slots=True)
class Item:
    """One answer beside what it should have been.

    prediction: the generated text, or the label's name.
    references: one or more right answers; most metrics of the field use one.
    score: probability of the positive label (classify), where there is one.
    """

    prediction: str
    references: tuple[str, ...]
    score: float | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric on one list of N items.

    resampled: draws [R, N] (how often each item counts) to values [R]; nan where undefined.
    tags: what the signature must say beyond the metric's name.
    items: per-item values where the metric is their mean.
    """

    value: float
    resampled: Callable[[Array], Array]
    tags: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    items: tuple[float, ...] = ()


class Metric(Protocol):
    """What `METRIC` in a file of this folder, or behind an entry point, must offer.

    best: the value of perfect predictions, which also tells the unit (100 for percentages).
    test: how two runs are compared; `mcnemar` where an item is either right or wrong.
    """

    @property
    def name(self) -> str: ...
    @property
    def kinds(self) -> tuple[Kind, ...]: ...
    @property
    def higher_is_better(self) -> bool: ...
    @property
    def needs_score(self) -> bool: ...
    @property
    def best(self) -> float: ...
    @property
    def test(self) -> Literal["bootstrap", "mcnemar"]: ...

    def measured(
        self, items: Sequence[Item], *, positive: str | None = None, language: str | None = None
    ) -> Measured: ...

    def signature(self, measured: Measured) -> str: ...

    def score(
        self,
        items: Sequence[Item],
        *,
        positive: str | None = None,
        language: str | None = None,
        bootstrap: int = 1000,
        seed: int = 0,
    ) -> Score: ...


@dataclass(frozen=True, slots=True)
class Measure:
    """The `Metric` of this package: a function with its description.

    measure: (items, positive label, language) to `Measured`; it may count on at least one item, a
    reference for each and, with `needs_score`, a finite score for each.
    version: raised whenever the same items would get another value.
    """

    name: str
    kinds: tuple[Kind, ...]
    measure: Callable[[Sequence[Item], str | None, str | None], Measured]
    best: float = 100.0
    higher_is_better: bool = True
    needs_score: bool = False
    test: Literal["bootstrap", "mcnemar"] = "bootstrap"
    version: int = 1

    def measured(
        self, items: Sequence[Item], *, positive: str | None = None, language: str | None = None
    ) -> Measured:
        """Measure checked items. Raises `DataError` where they do not fit the metric."""
        self._check(items)
        return self.measure(items, positive, language)

    def signature(self, measured: Measured) -> str:
        """What must be equal for two values to be compared."""
        return "|".join((self.name, *measured.tags, f"v:{self.version}"))

    def score(
        self,
        items: Sequence[Item],
        *,
        positive: str | None = None,
        language: str | None = None,
        bootstrap: int = 1000,
        seed: int = 0,
    ) -> Score:
        """The metric's value on `items`.

        bootstrap: how many resamples the 95% interval is drawn from; 0 for no interval (nan).
        """
        found = self.measured(items, positive=positive, language=language)
        signature, low, high = self.signature(found), math.nan, math.nan
        if bootstrap > 0:
            low, high = interval(found, len(items), bootstrap, seed)
            signature += f"|bs:{bootstrap}|seed:{seed}"
        return Score(
            metric=self.name,
            value=found.value,
            n=len(items),
            signature=signature,
            low=low,
            high=high,
            parts=found.parts,
            items=found.items,
        )

    def _check(self, items: Sequence[Item]) -> None:
        if not items:
            raise DataError(
                f"There is nothing for {self.name} to score", expected="one item or more"
            )
        for place, item in enumerate(items, start=1):
            if not item.references:
                raise DataError(f"Item {place}{_named(item)} has no reference")
            if self.needs_score and (item.score is None or not math.isfinite(item.score)):
                raise DataError(
                    f"Item {place}{_named(item)} has "
                    + ("no score" if item.score is None else f"the score {item.score}"),
                    expected=f"a probability of the positive label for each item: {self.name} "
                    "measures those, not the labels",
                    do='Give the predictions as JSONL with a "score"',
                )


def score_all(
    names: Sequence[str],
    items: Sequence[Item],
    *,
    positive: str | None = None,
    language: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> list[Score]:
    """One `Score` per metric name, in that order. Raises `UnknownNameError` before any work."""
    metrics: list[Metric] = [METRICS.get(name) for name in names]
    return [
        metric.score(items, positive=positive, language=language, bootstrap=bootstrap, seed=seed)
        for metric in metrics
    ]


def pair(
    predictions: Sequence[str],
    references: Sequence[str | tuple[str, ...]],
    scores: Sequence[float | None] | None = None,
) -> list[Item]:
    """Items from columns. Raises `DataError` where the columns have different lengths."""
    if len(predictions) != len(references):
        raise DataError(
            f"There are {len(predictions)} predictions and {len(references)} references",
            expected="one reference for each prediction, in the same order",
        )
    if scores is not None and len(scores) != len(predictions):
        raise DataError(
            f"There are {len(predictions)} predictions and {len(scores)} scores",
            expected="one score for each prediction, in the same order",
        )
    return [
        Item(
            prediction=prediction,
            references=(reference,) if isinstance(reference, str) else tuple(reference),
            score=None if scores is None else scores[place],
        )
        for place, (prediction, reference) in enumerate(zip(predictions, references, strict=True))
    ]


def mean_of(fractions: Sequence[float], tags: tuple[str, ...] = ()) -> Measured:
    """A metric that is the mean of per-item fractions (0..1), as a percentage."""
    total = 0.0
    for fraction in fractions:  # plain left-to-right addition, as the original tools add
        total += fraction
    column = np.asarray(fractions, dtype=np.float64)
    return Measured(
        value=total * 100.0 / len(fractions),
        resampled=lambda draws: (draws @ column) * (100.0 / draws.sum(axis=1)),
        tags=tags,
        items=tuple(fraction * 100.0 for fraction in fractions),
    )


def of_totals(
    statistics: Array,
    value: Callable[[Array], Array],
    tags: tuple[str, ...] = (),
    parts: Mapping[str, float] | None = None,
) -> Measured:
    """A metric that is a function of summed per-item statistics.

    statistics: [N, k]; value: totals [R, k] to values [R].
    """
    return Measured(
        value=float(value(statistics.sum(axis=0, keepdims=True))[0]),
        resampled=lambda draws: value(draws @ statistics),
        tags=tags,
        parts=parts or {},
    )


def resamples(n: int, count: int, seed: int) -> Iterator[Array]:
    """Bootstrap draws of N items in chunks [R, N] whose R add up to `count`."""
    random = np.random.default_rng(seed)
    step = max(1, CHUNK // n)
    for start in range(0, count, step):
        rows = min(step, count - start)
        picks = random.integers(0, n, size=(rows, n))
        picks += np.arange(rows)[:, None] * n
        drawn = np.bincount(picks.ravel(), minlength=rows * n)
        yield drawn.reshape(rows, n).astype(np.float64)


def interval(measured: Measured, n: int, count: int, seed: int) -> tuple[float, float]:
    """The 95% percentile interval over items, widened to hold the value.

    Resamples in which the metric is undefined (one class drawn) are left out. The widening matters
    for metrics whose resamples are biased (ECE grows under resampling): their percentiles alone can
    miss the value.
    """
    drawn = np.concatenate([measured.resampled(draws) for draws in resamples(n, count, seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return math.nan, math.nan
    low, high = np.percentile(drawn, (2.5, 97.5))
    return min(float(low), measured.value), max(float(high), measured.value)


def _named(item: Item) -> str:
    return f" ('{item.id}')" if item.id else ""
