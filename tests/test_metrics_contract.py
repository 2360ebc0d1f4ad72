"""What holds for every metric in the registry."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from codeprompt.errors import DataError, UnknownNameError
from codeprompt.lines import Ranking
from codeprompt.metrics.base import Item, Measure, interval, of_totals, pair, resamples, score_all
from codeprompt.registry import METRICS

NAMES = METRICS.names()
SHIPPED = {
    "accuracy",
    "chrf",
    "codebleu",
    "codexglue-corpus-bleu",
    "codexglue-sentence-bleu",
    "ece",
    "exact-match",
    "f1",
    "line-auc",
    "line-effort",
    "line-f1",
    "line-top1",
    "line-top5",
    "mcc",
    "parse-rate",
    "roc-auc",
    "sacrebleu",
}
CODE = [f"int f{k}(int a) {{ return a + {k} ; }}" for k in range(12)]
LABELS = ["0", "1", "1", "0", "0", "1", "0", "0", "1", "0", "1", "0"]


BLAMED = [f"{1 + k % 3} {4 + k % 5}" for k in range(12)]


def ranked(draw: random.Random | None) -> list[Item]:
    """Twenty lines a function; without a draw exactly the lines to blame are told."""
    out = []
    for blamed in BLAMED:
        wanted = set(map(int, blamed.split()))
        scores = {line: float(line in wanted) for line in range(1, 21)}
        if draw is not None:
            scores = {line: 0.3 * s + 0.7 * draw.random() for line, s in scores.items()}
        out.append(str(Ranking.of(scores, 0.5)))
    return pair(out, BLAMED)


def perfect(name: str) -> list[Item]:
    if "label" in METRICS.get(name).kinds:
        return ranked(None)
    if "classify" in METRICS.get(name).kinds:
        return pair(LABELS, LABELS, [float(label) for label in LABELS])
    return pair(CODE, CODE)


def flawed(name: str) -> list[Item]:
    draw = random.Random(3)
    if "label" in METRICS.get(name).kinds:
        return ranked(draw)
    if "classify" in METRICS.get(name).kinds:
        chances = [min(1.0, max(0.0, 0.3 + 0.4 * int(x) + draw.gauss(0, 0.3))) for x in LABELS]
        return pair([str(int(p > 0.5)) for p in chances], LABELS, chances)
    worse = [
        text if draw.random() < 0.3 else " ".join(text.split()[: draw.randint(5, 9)])
        for text in CODE
    ]
    return pair(worse, CODE)


def options(name: str) -> dict[str, Any]:
    return {"language": "java"} if name in ("codebleu", "parse-rate") else {}


def test_the_registry_holds_every_promised_metric_and_nothing_else() -> None:
    assert set(NAMES) >= SHIPPED
    assert not {"compare", "files", "runs"} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_knows_its_name_and_says_what_it_is(name: str) -> None:
    metric = METRICS.get(name)
    assert metric.name == name
    assert metric.kinds
    assert set(metric.kinds) <= {"classify", "generate", "label"}
    assert METRICS.summary(name).endswith(".") or ":" in METRICS.summary(name)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_predictions_get_the_best_value(name: str) -> None:
    metric = METRICS.get(name)
    best = metric.score(perfect(name), bootstrap=0, **options(name)).value
    worse = metric.score(flawed(name), bootstrap=0, **options(name)).value
    assert best == pytest.approx(metric.best)
    assert (worse < best) == metric.higher_is_better
    assert worse != pytest.approx(best)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_items_does_not_matter(name: str) -> None:
    metric, items = METRICS.get(name), flawed(name)
    shuffled = random.Random(5).sample(items, len(items))
    one, two = (metric.score(each, bootstrap=0, **options(name)) for each in (items, shuffled))
    assert one.value == pytest.approx(two.value, abs=1e-9)
    assert one.signature == two.signature


@pytest.mark.parametrize("name", NAMES)
def test_the_score_repeats_itself_and_its_interval_holds_the_value(name: str) -> None:
    metric, items = METRICS.get(name), flawed(name)
    one = metric.score(items, bootstrap=200, seed=4, **options(name))
    assert one == metric.score(items, bootstrap=200, seed=4, **options(name))
    assert one.low <= one.value <= one.high
    assert one.low < one.high
    assert one.n == len(items)
    assert one.signature.startswith(name)
    assert one.signature.endswith("|bs:200|seed:4")
    assert one.as_json()["interval"] == [one.low, one.high]


@pytest.mark.parametrize("name", NAMES)
def test_drawing_every_item_once_gives_the_value_itself(name: str) -> None:
    items = flawed(name)
    found = METRICS.get(name).measured(items, **options(name))
    assert found.resampled(np.ones((2, len(items)))) == pytest.approx([found.value] * 2)


@pytest.mark.parametrize("name", NAMES)
def test_drawing_an_item_twice_equals_having_it_twice(name: str) -> None:
    metric, items = METRICS.get(name), flawed(name)
    draws = np.ones((1, len(items)))
    draws[0, [1, 4]] = (3, 0)
    doubled = [*items[:4], *items[5:], items[1], items[1]]
    weighted = metric.measured(items, **options(name)).resampled(draws)[0]
    assert weighted == pytest.approx(metric.measured(doubled, **options(name)).value)


@pytest.mark.parametrize("name", NAMES)
def test_no_interval_is_given_where_none_was_asked_for(name: str) -> None:
    found = METRICS.get(name).score(flawed(name), bootstrap=0, **options(name))
    assert "interval" not in found.as_json()
    assert "bs:" not in found.signature


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_score_and_items_without_reference_are_refused(name: str) -> None:
    metric = METRICS.get(name)
    with pytest.raises(DataError, match=f"nothing for {name} to score"):
        metric.score([], **options(name))
    with pytest.raises(DataError, match=r"Item 1 \('row-7'\) has no reference"):
        metric.score([Item("1", (), 0.5, id="row-7")], **options(name))


@pytest.mark.parametrize("name", NAMES)
def test_per_item_values_have_the_score_as_their_mean(name: str) -> None:
    found = METRICS.get(name).score(flawed(name), bootstrap=0, **options(name))
    assert METRICS.get(name).test == "bootstrap" or found.items
    if found.items:
        assert np.mean(found.items) == pytest.approx(found.value)
        assert len(found.items) == found.n


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 predictions and 1 references"):
        pair(["a", "b"], ["a"])
    with pytest.raises(DataError, match="2 predictions and 1 scores"):
        pair(["a", "b"], ["a", "b"], [0.5])


def test_score_all_answers_in_the_order_asked() -> None:
    names = ["mcc", "accuracy", "ece"]
    assert [one.metric for one in score_all(names, flawed("mcc"), bootstrap=10)] == names


def test_score_all_names_the_nearest_metric() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        score_all(["acuracy"], flawed("accuracy"))


def test_resamples_draw_n_items_each_and_differ_by_seed() -> None:
    drawn = np.concatenate(list(resamples(40, 30, 1)))
    assert drawn.shape == (30, 40)
    assert (drawn.sum(axis=1) == 40).all()
    assert not (drawn == np.concatenate(list(resamples(40, 30, 2)))).all()


def test_resamples_come_in_chunks_for_large_data() -> None:
    chunks = list(resamples(600_000, 3, 0))
    assert [len(chunk) for chunk in chunks] == [1, 1, 1]


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    """A proportion of 0.3 over 1,000 items: 30 +- 1.96 * sqrt(0.3 * 0.7 / 1000) * 100."""
    found = METRICS.get("accuracy").score(pair(["1"] * 1000, ["1"] * 300 + ["0"] * 700))
    half = 196 * (0.21 / 1000) ** 0.5
    assert found.low == pytest.approx(30 - half, abs=0.4)
    assert found.high == pytest.approx(30 + half, abs=0.4)


def test_undefined_resamples_are_left_out_of_the_interval() -> None:
    """With two items of two classes half of all resamples hold one class."""
    found = METRICS.get("mcc").score(pair(["0", "1"], ["0", "1"]), bootstrap=50)
    assert (found.low, found.high) == (1.0, 1.0)


def test_an_interval_with_no_defined_resample_is_not_given() -> None:
    never = of_totals(np.ones((3, 1)), lambda totals: np.full(len(totals), np.nan))
    assert all(np.isnan(edge) for edge in interval(never, 3, 20, 0))


def test_the_version_is_part_of_the_signature() -> None:
    metric: Measure = METRICS.get("exact-match")
    assert metric.score(perfect("exact-match"), bootstrap=0).signature == "exact-match|v:1"
