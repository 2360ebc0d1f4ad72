"""Is one run better than another? Paired tests on the same items; a tie is called a tie.

- McNemar's exact test where an item is right or wrong (accuracy, exact match, parse rate): a
  two-sided binomial test on the items that only one run has right (McNemar 1947).
- Paired bootstrap elsewhere (Koehn 2004): both runs are scored on the same resampled items; p is
  the share of centred differences at least as large as the observed one, two-sided, counted as
  (c + 1) / (B + 1) (Riezler and Maxwell 2005; sacrebleu does the same).
The interval of the difference comes from the paired bootstrap in both cases; where the two disagree
at the edge of the 5% level, p decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from codeprompt.errors import DataError, UsageError
from codeprompt.metrics.base import Item, Measured, Metric, resamples
from codeprompt.metrics.runs import Run, run_items
from codeprompt.registry import METRICS

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs under one metric.

    difference: b - a, with its 95% bootstrap interval low..high.
    p: two-sided, of `test`; not corrected for other comparisons (`holm` does that).
    higher_is_better: tells which sign of the difference speaks for b.
    """

    metric: str
    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    test: Literal["mcnemar-exact", "paired-bootstrap"]
    signature: str
    higher_is_better: bool = True

    def better(self, p: float | None = None) -> Literal["a", "b", "tie"]:
        """Who wins at the 5% level, by this p or a corrected one."""
        if (self.p if p is None else p) >= LEVEL or self.difference == 0:
            return "tie"
        return "b" if (self.difference > 0) == self.higher_is_better else "a"

    def verdict(self) -> str:
        """The result in one sentence."""
        winner = self.better()
        what = (
            "a tie: no difference shown at the 5% level"
            if winner == "tie"
            else f"{winner.upper()} is better at the 5% level"
        )
        return (
            f"{self.metric}: A {self.a:.4g}, B {self.b:.4g}, difference {self.difference:+.3g} "
            f"[{self.low:+.3g}, {self.high:+.3g}], p = {self.p:.3g} ({self.test}, n = {self.n}); "
            f"{what}"
        )

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints for one comparison."""
        shown = asdict(self)
        shown["interval"] = [shown.pop("low"), shown.pop("high")]
        return {**shown, "better": self.better()}


def compare(
    a: Sequence[Item],
    b: Sequence[Item],
    metric: str,
    *,
    positive: str | None = None,
    language: str | None = None,
    bootstrap: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Two lists of answers to the same items, in the same order, under one metric.

    Raises `DataError` where the items are not the same.
    """
    if bootstrap < 1:
        raise UsageError(f"A paired test cannot draw {bootstrap} resamples", expected="1 or more")
    if len(a) != len(b):
        raise DataError(f"A has {len(a)} items and B has {len(b)}", expected="the same items")
    others = sum(one.references != two.references for one, two in zip(a, b, strict=True))
    if others:
        raise DataError(
            f"{others} of {len(a)} items have other references in B than in A",
            expected="the same items in the same order",
        )
    chosen: Metric = METRICS.get(metric)
    found_a = chosen.measured(a, positive=positive, language=language)
    found_b = chosen.measured(b, positive=positive, language=language)
    drawn = np.concatenate(
        [found_b.resampled(w) - found_a.resampled(w) for w in resamples(len(a), bootstrap, seed)]
    )
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        raise DataError(f"{metric} is undefined on every resample of these {len(a)} items")
    difference = found_b.value - found_a.value
    low, high = (float(edge) for edge in np.percentile(drawn, (2.5, 97.5)))
    exact = chosen.test == "mcnemar"
    return Comparison(
        metric=metric,
        n=len(a),
        a=found_a.value,
        b=found_b.value,
        difference=difference,
        low=min(low, difference),
        high=max(high, difference),
        p=_mcnemar(found_a, found_b) if exact else _shifted(drawn, difference),
        test="mcnemar-exact" if exact else "paired-bootstrap",
        signature=f"{chosen.signature(found_a)}|bs:{bootstrap}|seed:{seed}|two-sided",
        higher_is_better=chosen.higher_is_better,
    )


def compare_runs(
    a: Run,
    b: Run,
    metrics: Sequence[str] | None = None,
    *,
    bootstrap: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Two runs under the given metrics, or under those that both report.

    Rows are matched by id. Raises `DataError` where the runs do not hold the same rows, differ in
    task, positive label or language, or share no metric.
    """
    for what in ("task", "positive", "language"):
        one, two = getattr(a, what), getattr(b, what)
        if one != two:
            raise DataError(f"Run A has the {what} '{one}', run B has '{two}'")
    first, second = _aligned(a, b)
    if metrics is None:
        reported = {score.metric for score in b.scores}
        metrics = [score.metric for score in a.scores if score.metric in reported]
        if not metrics:
            raise DataError(
                "The two runs report no metric that both have",
                do="Name one that fits them",
            )
    return [
        compare(
            first,
            second,
            name,
            positive=a.positive,
            language=a.language,
            bootstrap=bootstrap,
            seed=seed,
        )
        for name in metrics
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = running
    return corrected


def _aligned(a: Run, b: Run) -> tuple[list[Item], list[Item]]:
    """The items of both runs in A's order. Raises `DataError` with the counts of what differs."""
    first, second = run_items(a), {item.id: item for item in run_items(b)}
    only_a = sum(item.id not in second for item in first)
    only_b = len(second) - (len(first) - only_a)
    others = sum(
        item.references != second[item.id].references for item in first if item.id in second
    )
    if only_a or only_b or others:
        raise DataError(
            f"The runs do not hold the same rows: {only_a} only in A, {only_b} only in B, "
            f"{others} in both with other references",
            expected="two runs on the same rows of the same data",
            do="Evaluate both packs with the same --data, --split and --limit",
        )
    return first, [second[item.id] for item in first]


def _mcnemar(a: Measured, b: Measured) -> float:
    """Two-sided exact p on the items that one run has right and the other wrong."""
    from scipy.stats import binomtest

    only_a = sum(one > two for one, two in zip(a.items, b.items, strict=True))
    only_b = sum(one < two for one, two in zip(a.items, b.items, strict=True))
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def _shifted(drawn: np.ndarray[Any, np.dtype[np.float64]], difference: float) -> float:
    """Two-sided p of the difference against draws centred on no difference."""
    # Equal up to rounding counts as equal, else two identical runs could look different.
    reached = np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-9
    return float((reached.sum() + 1) / (drawn.size + 1))
