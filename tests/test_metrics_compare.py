"""Paired tests between two runs, and the files that hold runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.errors import CodepromptError, DataError, UsageError
from codeprompt.metrics.base import Item, pair
from codeprompt.metrics.compare import Comparison, compare, compare_runs, holm
from codeprompt.metrics.runs import Run, RunItem, read_run, run_items, run_score, write_run
from codeprompt.registry import METRICS


def answers(right: list[int], n: int) -> list[Item]:
    return pair(["1" if place in right else "0" for place in range(n)], ["1"] * n)


def sentences(share: float, n: int = 200) -> list[Item]:
    """Summaries with about `share` of their words right; a common seed pairs them."""
    words = ["read", "the", "next", "value", "of", "a", "given", "stream", "now"]
    rolls = np.random.default_rng(1).random((n, len(words)))
    return pair(
        [
            " ".join(w if p < share else "x" for w, p in zip(words, row, strict=True))
            for row in rolls
        ],
        [" ".join(words)] * n,
    )


def run(items: list[Item], **changes: object) -> Run:
    fields: dict[str, object] = {
        "task": "defect",
        "pack": "p@1",
        "backbone": "builtin-1@ab",
        "data": "f00",
        "split": "test",
        "items": tuple(
            RunItem(id=f"r{place}", prediction=i.prediction, references=i.references, score=i.score)
            for place, i in enumerate(items)
        ),
    }
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


def test_mcnemar_is_the_exact_binomial_test_on_the_discordant_items() -> None:
    """A alone right on 1 item, B alone on 8: p = 2 * (C(9,0) + C(9,1)) / 2^9 = 0.0390625."""
    found = compare(answers([0, 1], 20), answers([0, *range(2, 10)], 20), "accuracy")
    assert found.test == "mcnemar-exact"
    assert found.p == pytest.approx(0.0390625)
    assert found.difference == pytest.approx(35.0)
    assert found.low < found.difference < found.high
    assert found.better() == "b"
    assert "B is better at the 5% level" in found.verdict()


def test_a_small_difference_is_called_a_tie() -> None:
    found = compare(answers([0, 1, 2], 20), answers([0, 1, 3, 4], 20), "accuracy")
    assert found.better() == "tie"
    assert "a tie: no difference shown at the 5% level" in found.verdict()
    assert found.as_json()["better"] == "tie"


@pytest.mark.parametrize(
    "metric", ["codexglue-sentence-bleu", "codexglue-corpus-bleu", "sacrebleu", "chrf"]
)
def test_the_paired_bootstrap_finds_a_clear_difference_from_both_sides(metric: str) -> None:
    worse, better = sentences(0.5), sentences(0.7)
    found = compare(worse, better, metric, bootstrap=500)
    back = compare(better, worse, metric, bootstrap=500)
    assert found.test == "paired-bootstrap"
    assert found.p == back.p == pytest.approx(1 / 501)
    assert (found.better(), back.better()) == ("b", "a")
    assert found.low > 0 > back.high
    assert found.difference == pytest.approx(-back.difference)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "codexglue-sentence-bleu"])
def test_a_run_ties_with_itself(metric: str) -> None:
    items = answers([1, 2, 5], 9)
    found = compare(items, items, metric, bootstrap=100)
    assert (found.p, found.difference, found.better()) == (1.0, 0.0, "tie")


def test_pairing_sees_what_the_intervals_alone_do_not() -> None:
    """B repeats A with a few items mended: intervals overlap, the paired test is sure."""
    a = sentences(0.6)
    b = [Item(i.references[0], i.references) if k % 20 == 0 else i for k, i in enumerate(a)]
    metric = METRICS.get("codexglue-sentence-bleu")
    one, two = metric.score(a), metric.score(b)
    assert two.low < one.high
    assert compare(a, b, "codexglue-sentence-bleu", bootstrap=1000).better() == "b"


def test_under_the_null_about_one_in_twenty_comparisons_is_significant() -> None:
    random, hits = np.random.default_rng(0), 0
    for trial in range(200):
        wanted = random.choice(["0", "1"], 80)
        noise = [
            [label if random.random() < 0.7 else "01"[label == "0"] for label in wanted]
            for _ in "ab"
        ]
        a, b = (pair(one, wanted.tolist()) for one in noise)
        hits += compare(a, b, "mcc", bootstrap=200, seed=trial).better() != "tie"
    assert 2 <= hits <= 22


def test_a_lower_ece_is_the_better_one() -> None:
    wanted = ["0", "1"] * 100
    sure = pair(wanted, wanted, [0.1, 0.9] * 100)
    unsure = pair(wanted, wanted, [0.4, 0.6] * 100)
    found = compare(sure, unsure, "ece", bootstrap=200)
    assert found.difference > 0
    assert found.better() == "a"


def test_lists_that_are_not_the_same_items_are_refused() -> None:
    with pytest.raises(DataError, match="A has 3 items and B has 4"):
        compare(answers([], 3), answers([], 4), "accuracy")
    with pytest.raises(DataError, match="1 of 2 items have other references"):
        compare(pair(["a", "b"], ["a", "b"]), pair(["a", "b"], ["a", "c"]), "accuracy")


def test_a_test_without_resamples_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot draw 0 resamples"):
        compare(answers([], 3), answers([], 3), "accuracy", bootstrap=0)


def test_the_comparison_says_how_it_was_made() -> None:
    found = compare(answers([1], 9), answers([2], 9), "accuracy", bootstrap=50, seed=3)
    assert found.signature == "accuracy|v:1|bs:50|seed:3|two-sided"
    assert isinstance(found, Comparison)
    assert found.as_json()["interval"] == [found.low, found.high]


def test_holm_corrects_a_worked_example() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.04 * 1, each at least the one before it."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises_p_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    ranked = [corrected[k] for k in sorted(range(len(values)), key=values.__getitem__)]
    assert ranked == sorted(ranked)


def test_a_run_survives_its_file(tmp_path: Path) -> None:
    items = pair(["1", "0"], ["1", "1"], [0.9, None])
    score = METRICS.get("accuracy").score(items, bootstrap=20)
    kept = run(items, scores=(run_score(score),), positive="1", signature="eval|v:1")
    write_run(tmp_path / "deep" / "run.json", kept)
    found = read_run(tmp_path / "deep" / "run.json")
    assert found == kept
    assert [(i.prediction, i.references, i.score) for i in run_items(found)] == [
        (i.prediction, i.references, i.score) for i in items
    ]
    assert found.scores[0].interval == (score.low, score.high)


def test_a_score_without_interval_is_kept_as_such(tmp_path: Path) -> None:
    score = METRICS.get("accuracy").score(pair(["1"], ["1"]), bootstrap=0)
    assert run_score(score).interval is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a run"),
        (b'{"task": "defect"', "is not a run"),
        (b'{"task": "defect"}', "missing required field `pack`.*codeprompt eval --out"),
        (b"\xff\xfe\x00", "is not a run"),
        (b'{"task": "\xff"}', "is not a run"),
        (b"[1, 2]", "Expected `object`, got `array`"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "run.json")


def test_a_missing_newer_or_ambiguous_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_run(path)
    kept = run(answers([0], 2))
    write_run(path, msgspec.structs.replace(kept, version=2))
    with pytest.raises(DataError, match=r"version 2\. Expected version 1"):
        read_run(path)
    write_run(path, msgspec.structs.replace(kept, items=(kept.items[0], kept.items[0])))
    with pytest.raises(DataError, match="2 rows but only 1 different ids"):
        read_run(path)


def test_a_run_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CodepromptError, match="cannot be written"):
        write_run(tmp_path / "file" / "run.json", run(answers([0], 2)))


def test_runs_are_matched_by_id_whatever_their_order() -> None:
    a, b = run(answers([0, 1], 30)), run(answers(list(range(20)), 30))
    turned = msgspec.structs.replace(b, items=b.items[::-1])
    assert compare_runs(a, b, ["accuracy"]) == compare_runs(a, turned, ["accuracy"])
    assert compare_runs(a, b, ["accuracy"])[0].better() == "b"


def test_runs_are_compared_under_the_metrics_both_report() -> None:
    scores = {
        name: run_score(METRICS.get(name).score(answers([0], 4), bootstrap=0))
        for name in ("accuracy", "exact-match")
    }
    a = run(answers([0], 4), scores=(scores["accuracy"], scores["exact-match"]))
    b = run(answers([1], 4), scores=(scores["accuracy"],))
    assert [one.metric for one in compare_runs(a, b, bootstrap=20)] == ["accuracy"]
    with pytest.raises(DataError, match="no metric that both have"):
        compare_runs(a, run(answers([1], 4)))


def test_runs_on_other_rows_are_refused_with_the_counts() -> None:
    a, b = run(answers([0], 5)), run(answers([0], 7))
    with pytest.raises(DataError, match="0 only in A, 2 only in B, 0 in both with other ref"):
        compare_runs(a, b, ["accuracy"])
    others = run(pair(["1"] * 5, ["1", "1", "0", "0", "0"]))
    with pytest.raises(DataError, match="0 only in A, 0 only in B, 3 in both with other ref"):
        compare_runs(a, others, ["accuracy"])


def test_runs_of_other_tasks_are_refused() -> None:
    with pytest.raises(DataError, match="Run A has the task 'defect', run B has 'summarize'"):
        compare_runs(run(answers([0], 5)), run(answers([0], 5), task="summarize"), ["accuracy"])
