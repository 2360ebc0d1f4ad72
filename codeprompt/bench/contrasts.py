"""Is one row of a table better than another? Over items and over seeds, corrected for the table.

Two nulls must fall. Over items: both rows are scored on the same resampled items, each as the mean
over its seeds (paired bootstrap, Koehn 2004; McNemar's exact test where both are one run and an
item is right or wrong): would other test rows say the same? Over seeds: a paired t test, since arms
of one seed share their shots: would other shots say the same? The larger p decides (an
intersection-union test), Holm corrects over all contrasts of the table, and what is not significant
then is a tie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeprompt.bench.results import Contrast, TableRow
from codeprompt.bench.suite import Suite
from codeprompt.metrics.base import Item, Measured, Metric, resamples
from codeprompt.metrics.compare import LEVEL, compare, holm
from codeprompt.registry import METRICS

DRAWS = 10_000
Kind = tuple[str, str | None, str | None]


@dataclass(frozen=True)
class Answered:
    """The predictions of one row's cells on a table's evaluation: seed to items."""

    row: TableRow
    items: Mapping[int, Sequence[Item]]


def planned(suite: Suite, rows: Sequence[TableRow]) -> list[tuple[TableRow, TableRow]]:
    """The pairs (a, b) that the suite asks for among a table's rows, each once."""
    out: dict[frozenset[tuple[str, str]], tuple[TableRow, TableRow]] = {}
    wanted = [(a, None) for a in suite.against] + [(a, b) for a, b in suite.pairs]
    for first, second in wanted:
        for b in rows:
            if b.arm == first or (second is None and b.kind == "baseline") or b.missing_all:
                continue
            if second is not None and b.arm != second:
                continue
            for a in rows:
                alike = a.shots == b.shots or 0 in (a.shots, b.shots)
                if a.arm == first and alike and a.variant in ("", b.variant) and not a.missing_all:
                    key = frozenset({(a.name, str(a.shots)), (b.name, str(b.shots))})
                    out.setdefault(key, (a, b))
    return list(out.values())


def contrasts(
    pairs: Sequence[tuple[Answered, Answered]],
    metric: str,
    *,
    positive: str | None,
    language: str | None,
    draws: int = DRAWS,
) -> tuple[Contrast, ...]:
    """Test every pair of one table, then correct for their number."""
    context: Kind = (metric, positive, language)
    everyone = {id(one): one for pair in pairs for one in pair}
    drawn = _resampled(list(everyone.values()), context, draws)
    found = [_contrast(a, b, drawn[id(a)], drawn[id(b)], context, draws) for a, b in pairs]
    kept = [one for one in found if one is not None]
    higher = METRICS.get(metric).higher_is_better
    out = []
    for one, p in zip(kept, holm([one.p for one in kept]), strict=True):
        winner: Literal["a", "b", "tie"] = "tie"
        if p < LEVEL and one.difference:
            winner = "b" if (one.difference > 0) == higher else "a"
        out.append(replace(one, p_holm=p, winner=winner))
    return tuple(out)


def _resampled(
    all_of: Sequence[Answered], context: Kind, draws: int
) -> dict[int, NDArray[np.float64]]:
    """Each row's mean over seeds on every resample; the same resamples for all rows."""
    metric, positive, language = context
    measure: Metric = METRICS.get(metric)
    measured: dict[int, list[Measured]] = {
        id(one): [
            measure.measured(items, positive=positive, language=language)
            for items in one.items.values()
        ]
        for one in all_of
    }
    n = len(next(iter(all_of[0].items.values()))) if all_of else 0
    parts: dict[int, list[NDArray[np.float64]]] = {name: [] for name in measured}
    for weights in resamples(n, draws, 0) if n else ():
        for name, several in measured.items():
            parts[name].append(np.mean([one.resampled(weights) for one in several], axis=0))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _contrast(
    a: Answered,
    b: Answered,
    drawn_a: NDArray[np.float64],
    drawn_b: NDArray[np.float64],
    context: Kind,
    draws: int,
) -> Contrast | None:
    """One pair; None where the metric is undefined on either."""
    metric, positive, language = context
    values_a, values_b = _by_seed(a.row, metric), _by_seed(b.row, metric)
    if not values_a or not values_b:
        return None
    difference = float(np.mean(list(values_b.values())) - np.mean(list(values_a.values())))
    drawn = drawn_b - drawn_a
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return None
    low, high = (float(edge) for edge in np.percentile(drawn, (2.5, 97.5)))
    test = "paired-bootstrap"
    reached = np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-9
    p_items = float((reached.sum() + 1) / (drawn.size + 1))
    if len(values_a) == len(values_b) == 1 and METRICS.get(metric).test == "mcnemar":
        one, two = (next(iter(side.items.values())) for side in (a, b))
        kind: dict[str, Any] = {"positive": positive, "language": language, "bootstrap": 1}
        p_items, test = compare(one, two, metric, **kind).p, "mcnemar-exact"
    fixed = a.row.shots == 0, b.row.shots == 0
    p_seeds = over_seeds(values_a, values_b, fixed)
    return Contrast(
        a=a.row.name,
        b=b.row.name,
        shots=b.row.shots if b.row.shots != 0 else a.row.shots,
        metric=metric,
        difference=difference,
        interval=(min(low, difference), max(high, difference)),
        p_items=p_items,
        p_seeds=p_seeds,
        p=max(p_items, p_seeds or 0.0),
        p_holm=1.0,
        winner="tie",
        test=f"{test}|bs:{draws}" + ("" if p_seeds is None else "+paired-t"),
        seeds=min(
            len(values) for values in (values_a, values_b) if len(values) > 1 or p_seeds is None
        ),
        n=len(next(iter(a.items.values()))),
        relative=_relative(difference, list(values_a.values())),
    )


def _relative(difference: float, before: Sequence[float]) -> float | None:
    """As the study counts its gains; None where a mean is not above zero."""
    mean = float(np.mean(before))
    return difference / mean if mean > 0 else None


def over_seeds(
    a: Mapping[int, float], b: Mapping[int, float], fixed: tuple[bool, bool] = (True, True)
) -> float | None:
    """Two-sided p of a paired t test over the seeds that both have.

    A row of one run is a constant where nothing in it is random (fixed: of a, of b), and not where
    its other seeds have not ended. None where neither has two seeds, or
    they share fewer than two.
    """
    from scipy.stats import ttest_1samp

    if len(a) == 1 and len(b) > 1 and fixed[0]:
        differences = [value - next(iter(a.values())) for value in b.values()]
    elif len(b) == 1 and len(a) > 1 and fixed[1]:
        differences = [next(iter(b.values())) - value for value in a.values()]
    else:
        differences = [b[seed] - a[seed] for seed in a if seed in b]
    if len(differences) < 2:
        return None
    if max(differences) - min(differences) < 1e-12:  # no spread at all: t is not defined
        return 1.0 if abs(differences[0]) < 1e-12 else 0.0
    p = float(ttest_1samp(differences, 0.0).pvalue)
    return 1.0 if math.isnan(p) else p


def _by_seed(row: TableRow, metric: str) -> dict[int, float]:
    values = row.metrics[metric].values if metric in row.metrics else ()
    return {s: v for s, v in zip(row.seeds, values, strict=True) if v is not None} if values else {}
