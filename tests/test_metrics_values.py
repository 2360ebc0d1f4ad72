"""The metrics' values, held to the original tools and to scikit-learn and sacrebleu."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeprompt.errors import CodepromptError, DataError, UsageError
from codeprompt.metrics.base import Item, pair
from codeprompt.metrics.codexglue_sentence_bleu import sentence_bleu, tokens
from codeprompt.registry import METRICS
from codeprompt.types import Score


def score(name: str, items: Sequence[Item], **options: str) -> Score:
    found = METRICS.get(name).score(items, bootstrap=0, **options)
    assert isinstance(found, Score)
    return found


# Printed by CodeXGLUE's Code-Text/code-to-text/evaluator/evaluator.py, run on these very lines.
SENTENCES = [
    ("returns the name of the file", "returns the name of the given file .", "63.19145618915729"),
    ("Return the user's id, or None.", "Returns the user 's id or none .", "58.44356470407897"),
    ("parse foo_bar(x) -> int", "Parse foo_bar ( x ) -> int", "100.0"),
    ("the the the the the", "the cat", "24.028114141347544"),
    ("", "close the stream", "4.978706836786395"),
    ("sort", "sort", "100.0"),
    ("alpha beta gamma", "delta epsilon", "5.929498746342409e-76"),
    ("Größe in 1,000.5 px (naïve)", "größe in 1 , 000 . 5 px ( naïve )", "100.0"),
    (
        "opens the file reads it all and closes it again at the end",
        "opens the file",
        "16.853999135973137",
    ),
]


@pytest.mark.parametrize(("prediction", "reference", "printed"), SENTENCES)
def test_sentence_bleu_prints_what_the_codexglue_evaluator_prints(
    prediction: str, reference: str, printed: str
) -> None:
    assert str(score("codexglue-sentence-bleu", pair([prediction], [reference])).value) == printed


def test_sentence_bleu_of_a_corpus_is_the_evaluators_mean() -> None:
    items = pair([one for one, _, _ in SENTENCES], [one for _, one, _ in SENTENCES])
    found = score("codexglue-sentence-bleu", items)
    assert str(found.value) == "51.943982334149254"  # the same evaluator on the nine lines above
    assert [str(value) for value in found.items] == [printed for _, _, printed in SENTENCES]


def test_sentence_bleu_takes_several_references_as_the_evaluator_does() -> None:
    items = pair(["returns the size of list"], [("gets the size of the list", "return list size")])
    # The same evaluator, with two reference lines of one id.
    assert str(score("codexglue-sentence-bleu", items).value) == "53.18295896944989"


@given(st.text(max_size=40))
def test_tokens_hold_every_visible_character_once_and_lower_cased(text: str) -> None:
    assert "".join(tokens(text)) == "".join(text.lower().split())


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=60)
def test_sentence_bleu_stays_between_zero_and_one(prediction: str, reference: str) -> None:
    assert 0.0 <= sentence_bleu(prediction, [reference]) <= 1.0 + 1e-12


PREDICTED = [
    "return a + b ;",
    "public int Size(){return count;}",
    "public void Close() { stream.Close(); }  ",
    "x",
]
WANTED = [
    "return a + b + c ;",
    "public virtual int Size(){return count;}",
    "public void Close() { stream.Close(); }",
    "y z",
]


@pytest.mark.parametrize(
    ("predictions", "references", "bleu", "exact"),
    [
        # Printed by CodeXGLUE's Code-Code/code-to-code-trans/evaluator/evaluator.py.
        (PREDICTED, WANTED, 63.97, 25.0),
        (PREDICTED[:3], WANTED[:3], 68.27, 33.33),
        (PREDICTED[:1], WANTED[:1], 53.31, 0.0),
        (["a b c d e f"], ["a b c d"], 61.48, 0.0),
    ],
)
def test_corpus_bleu_and_exact_match_print_what_the_codexglue_evaluator_prints(
    predictions: list[str], references: list[str], bleu: float, exact: float
) -> None:
    items = pair(predictions, references)
    assert round(score("codexglue-corpus-bleu", items).value, 2) == bleu
    assert round(score("exact-match", items).value, 2) == exact


def test_corpus_bleu_of_a_copied_input_is_as_published_with_the_data(shared_data) -> None:
    """The naive copy of CodeTrans' 1,000 test rows by the same evaluator: 18.72 and 18.58."""
    java = (shared_data / "codetrans/test.java-cs.txt.java").read_text("utf-8").splitlines()
    sharp = (shared_data / "codetrans/test.java-cs.txt.cs").read_text("utf-8").splitlines()
    assert round(score("codexglue-corpus-bleu", pair(java, sharp)).value, 2) == 18.72
    assert round(score("codexglue-corpus-bleu", pair(sharp, java)).value, 2) == 18.58


def test_corpus_bleu_of_only_empty_predictions_is_zero() -> None:
    assert score("codexglue-corpus-bleu", pair(["", " "], ["a b", "c"])).value == 0.0


def test_corpus_bleu_refuses_only_empty_references() -> None:
    with pytest.raises(DataError, match="Every reference is empty"):
        score("codexglue-corpus-bleu", pair(["a"], [" "]))


@pytest.mark.parametrize("name", ["sacrebleu", "chrf"])
def test_sacrebleu_metrics_equal_corpus_score_and_carry_its_signature(name: str) -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    theirs = BLEU() if name == "sacrebleu" else CHRF()
    hypotheses = [*PREDICTED, "The cat sat, on a mat.", "it is 3.14 or so"]
    references = [*WANTED, "A cat sat on the mat.", "it was 3.14, or about so"]
    expected = theirs.corpus_score(hypotheses, [references])
    found = score(name, pair(hypotheses, references))
    assert found.value == pytest.approx(expected.score, abs=1e-9)
    assert str(theirs.get_signature()) in found.signature


def test_sacrebleu_takes_different_numbers_of_references() -> None:
    items = pair(["a b c d e", "f g h i"], [("a b c d e", "x"), ("f g h j",)])
    found = score("sacrebleu", items)
    assert "nrefs:var" in found.signature
    assert found.value == pytest.approx(score("sacrebleu", items[::-1]).value)


label_lists = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from("01"), min_size=n, max_size=n),
        st.lists(st.sampled_from("01"), min_size=n, max_size=n),
        st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=n, max_size=n),
    )
)


@given(label_lists)
@settings(max_examples=60, deadline=None)
def test_binary_classification_metrics_equal_scikit_learn(
    columns: tuple[list[str], list[str], list[float]],
) -> None:
    from sklearn import metrics as theirs

    wanted, found, scores = columns
    wanted = ["0", "1", *wanted]
    found, scores = [*found, "0", "1"], [*scores, 0.5, 0.25]
    items = pair(found, wanted, scores)
    assert score("accuracy", items).value == pytest.approx(
        100 * theirs.accuracy_score(wanted, found)
    )
    f1 = score("f1", items)
    assert f1.value == pytest.approx(100 * theirs.f1_score(wanted, found, pos_label="1"))
    assert f1.parts["precision"] == pytest.approx(
        100 * theirs.precision_score(wanted, found, pos_label="1", zero_division=0)
    )
    assert f1.parts["recall"] == pytest.approx(
        100 * theirs.recall_score(wanted, found, pos_label="1")
    )
    assert score("mcc", items).value == pytest.approx(theirs.matthews_corrcoef(wanted, found))
    truth = [int(label) for label in wanted]
    assert score("roc-auc", items).value == pytest.approx(theirs.roc_auc_score(truth, scores))


def test_metrics_of_many_labels_equal_scikit_learn() -> None:
    from sklearn import metrics as theirs

    random = np.random.default_rng(0)
    wanted = random.choice(list("abc"), 200).tolist()
    found = [a if random.random() < 0.6 else random.choice(list("abcd")) for a in wanted]
    items = pair(found, wanted)
    assert score("f1", items).value == pytest.approx(
        100 * theirs.f1_score(wanted, found, average="macro")
    )
    assert "avg:macro" in score("f1", items).signature
    assert score("mcc", items).value == pytest.approx(theirs.matthews_corrcoef(wanted, found))


def test_mcc_is_zero_where_every_prediction_is_the_same() -> None:
    assert score("mcc", pair(["0", "0", "0"], ["0", "1", "0"])).value == 0.0


@pytest.mark.parametrize("name", ["mcc", "roc-auc"])
def test_one_class_in_the_references_is_refused_with_what_was_found(name: str) -> None:
    with pytest.raises(DataError, match=r"undefined on one class: the references are 0 \(3\)"):
        score(name, pair(["0", "1", "0"], ["0", "0", "0"], [0.1, 0.2, 0.3]))


def test_f1_without_a_positive_reference_is_refused() -> None:
    with pytest.raises(DataError, match=r"F1 of '1' is undefined: the references are 0 \(2\)"):
        score("f1", pair(["0", "1"], ["0", "0"]))


def test_ece_follows_its_definition_on_a_worked_example() -> None:
    """Two bins: (0.05 + 0.06 - 0) / 4 and (0.9 + 0.92 - 1) / 4."""
    items = pair(["0", "0", "1", "1"], ["0", "0", "1", "0"], [0.05, 0.06, 0.9, 0.92])
    assert score("ece", items).value == pytest.approx((0.11 + 0.82) / 4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=60)
def test_ece_equals_a_plain_loop_over_bins(rows: list[tuple[float, bool]]) -> None:
    items = pair(["1"] * len(rows), [str(int(t)) for _, t in rows], [p for p, _ in rows])
    expected = 0.0
    for lower in range(15):
        held = [
            (p, t)
            for p, t in rows
            if (lower < p * 15 or (lower == 0 and p == 0)) and p * 15 <= lower + 1
        ]
        expected += abs(sum(p for p, _ in held) - sum(t for _, t in held)) / len(rows)
    assert score("ece", items, positive="1").value == pytest.approx(expected)


def test_ece_refuses_what_is_no_probability() -> None:
    with pytest.raises(DataError, match=r"run from -2\.5 to 0\.3\. Expected probabilities"):
        score("ece", pair(["0", "1"], ["0", "1"], [-2.5, 0.3]))


@pytest.mark.parametrize("name", ["roc-auc", "ece"])
def test_metrics_of_probabilities_refuse_items_without_one(name: str) -> None:
    with pytest.raises(DataError, match=r"Item 2 has no score.*JSONL with a \"score\""):
        score(name, pair(["0", "1"], ["0", "1"], [0.5, None]))
    with pytest.raises(DataError, match="Item 1 has the score nan"):
        score(name, pair(["0", "1"], ["0", "1"], [math.nan, 0.5]))


def test_an_unclear_positive_label_is_asked_for_and_then_used() -> None:
    items = pair(["cat", "dog"], ["cat", "dog"], [0.2, 0.9])
    with pytest.raises(UsageError, match=r"cannot tell .* cat \(1\), dog \(1\).*--positive"):
        score("roc-auc", items)
    assert score("roc-auc", items, positive="dog").value == 1.0
    assert score("roc-auc", items, positive="cat").value == 0.0
    with pytest.raises(DataError, match="No item has the positive label 'dgo'"):
        score("f1", items, positive="dgo")


def test_parse_rate_counts_what_parses_and_not_the_empty_answer() -> None:
    items = pair(["def f(x):\n    return x\n", "def f(x:\n  return (", "", "x = 1"], ["-"] * 4)
    found = score("parse-rate", items, language="python")
    assert found.value == 50.0
    assert found.items == (100.0, 0.0, 0.0, 100.0)
    assert "lang:python" in found.signature


def test_parse_rate_asks_for_the_language() -> None:
    with pytest.raises(UsageError, match=r"language of the predictions.*python.*--language"):
        score("parse-rate", pair(["x"], ["x"]))
    with pytest.raises(CodepromptError, match=r"language 'pyhton'.*Did you mean 'python'\?"):
        score("parse-rate", pair([""], [""]), language="pyhton")
