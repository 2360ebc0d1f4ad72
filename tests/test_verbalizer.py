"""Label words and calibration."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import UsageError
from codeprompt.verbalizers import (
    Verbalizer,
    calibrated,
    candidates,
    label_log_probs,
    log_prior,
    word_scores,
)

DEFECT = Verbalizer.of({"clean": ["clean", "good"], "defective": ["defective", "bad"]})


def test_a_verbalizer_survives_json_in_its_order() -> None:
    """The order of labels is kept even where JSON keys are sorted."""
    text = json.dumps(DEFECT.as_dict(), sort_keys=True)
    assert Verbalizer.from_dict(json.loads(text)) == DEFECT
    assert Verbalizer.plain(["yes", "no"]) == Verbalizer.of({"yes": "yes", "no": "no"})


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"a": ["x"], "b": []}, "The label 'b' has no words. Give it at least one"),
        ({"a": ["x"], "b": ["x"]}, "The label 'b' has the word 'x' and so has 'a'"),
        ({"a": ["x", " x"], "b": ["y"]}, "The label 'a' has the word ' x' twice"),
        ({"a": ["x"], "b": ["  "]}, "The label 'b' has an empty word"),
        ({"a": ["x"]}, "has 1 labels. Expected two labels or more"),
    ],
)
def test_unusable_words_are_refused(words: dict[str, list[str]], match: str) -> None:
    """Each fault names the label and the word."""
    with pytest.raises(UsageError, match=re.escape(match)):
        Verbalizer.of(words)


@pytest.mark.parametrize(
    "data", [{}, {"labels": "ab", "words": ["x", "y"]}, {"labels": ["a"], "words": [[1]]}]
)
def test_unreadable_data_is_refused(data: dict[str, object]) -> None:
    """A card's verbalizer of another shape gives an error, not a traceback."""
    with pytest.raises(UsageError, match="not readable"):
        Verbalizer.from_dict(data)


def test_repeated_labels_and_uneven_lists_are_refused() -> None:
    """What a mapping cannot say, lists can."""
    with pytest.raises(UsageError, match="the label 'a' twice"):
        Verbalizer(("a", "a"), (("x",), ("y",)))
    with pytest.raises(UsageError, match="2 labels and 1 lists"):
        Verbalizer(("a", "b"), (("x",),))


def test_candidates_carry_the_space_before_the_mask(shared_data: Path) -> None:
    """Encoders read ' good' at the mask; a decoder's answer starts without a space."""
    codebert = Tokenizer.load(shared_data / "tokenizers" / "codebert-base")
    found = candidates(DEFECT, codebert)
    assert [label for label, _ in found] == [0, 0, 1, 1]
    assert [codebert.decode(ids) for _, ids in found] == [" clean", " good", " defective", " bad"]
    assert found[1][1] == codebert.encode("It is good")[-1:]
    codet5 = Tokenizer.load(shared_data / "tokenizers" / "codet5-base-hf")
    answers = candidates(Verbalizer.plain(["true", "false"]), codet5)
    assert answers == [(0, codet5.encode("true")), (1, codet5.encode("false"))]
    spaced = candidates(Verbalizer.plain(["true", "false"]), codet5, leading_space=True)
    assert spaced[0] == (0, codet5.encode(" true"))


def test_words_may_have_several_tokens(shared_data: Path) -> None:
    """A rare word is kept whole, as a sequence of tokens."""
    codebert = Tokenizer.load(shared_data / "tokenizers" / "codebert-base")
    words = Verbalizer.of({"yes": ["buffer overflow"], "no": ["clean"]})
    (_, long), (_, short) = candidates(words, codebert)
    assert len(long) > 1 == len(short)
    assert codebert.decode(long) == " buffer overflow"


def test_words_with_the_same_tokens_are_refused(shared_data: Path) -> None:
    """Two labels whose words the tokenizer cannot tell apart could never be told apart."""
    codebert = Tokenizer.load(shared_data / "tokenizers" / "codebert-base")
    with pytest.raises(UsageError, match="have the same tokens"):
        candidates(Verbalizer.of({"a": "x\ud800", "b": "x\ufffd"}), codebert)


def test_word_scores_are_means_over_the_words_own_tokens() -> None:
    """Padding, even -inf or NaN, changes nothing."""
    log_probs = torch.tensor([[[-1.0, -3.0], [-2.0, math.nan]]])
    scores = word_scores(log_probs, torch.tensor([2, 1]))
    assert scores.tolist() == [[-2.0, -2.0]]


def test_label_scores_are_mean_probabilities_of_words() -> None:
    """Two words of 0.1 and 0.3 weigh as one of 0.2."""
    scores = torch.tensor([0.1, 0.3, 0.6]).log()
    found = label_log_probs(scores, [0, 0, 1], 2).exp()
    assert found.tolist() == pytest.approx([0.2 / 0.8, 0.6 / 0.8])
    with pytest.raises(UsageError, match="Label number 1 has no words"):
        label_log_probs(scores, [0, 0, 2], 3)


@given(
    st.lists(st.floats(-20, 0), min_size=3, max_size=3),
    st.lists(st.floats(-5, 0), min_size=2, max_size=2),
)
def test_calibrated_probabilities_sum_to_one(scores: list[float], prior: list[float]) -> None:
    """Whatever the prior, the result is a distribution; a flat prior changes nothing."""
    values = torch.tensor(scores, dtype=torch.float64)
    plain = label_log_probs(values, [0, 1, 1], 2)
    assert calibrated(plain, prior).exp().sum().item() == pytest.approx(1)
    assert torch.allclose(calibrated(plain, [-0.7, -0.7]), plain)


def test_a_content_free_input_comes_out_undecided() -> None:
    """Calibrated by its own prior, an input without content gives every label the same chance."""
    found = label_log_probs(torch.tensor([[-0.1, -2.5, -4.0]]), [0, 1, 2], 3)
    again = calibrated(found, log_prior(found)).exp()
    assert again[0].tolist() == pytest.approx([1 / 3] * 3)


def test_the_prior_is_the_mean_of_probabilities_and_never_zero() -> None:
    """Several content-free inputs are averaged; an excluded label stays possible."""
    found = torch.tensor([[0.8, 0.2], [0.6, 0.4]]).log()
    assert [math.exp(p) for p in log_prior(found)] == pytest.approx([0.7, 0.3])
    assert all(math.isfinite(p) for p in log_prior(torch.tensor([[0.0, -math.inf]])))
    with pytest.raises(UsageError, match="prior has 3 labels and the scores 2"):
        calibrated(found, [0.0, 0.0, 0.0])


def test_gradients_reach_the_scores() -> None:
    """Training takes the path of serving: cross-entropy over labels, prior included."""
    scores = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)

    def loss(values: torch.Tensor) -> torch.Tensor:
        return label_log_probs(values, [0, 1, 1, 2, 2], 3, (-1.0, -2.0, -0.5))[:, 1].sum()

    assert torch.autograd.gradcheck(loss, (scores,))


def test_words_are_free_of_torch() -> None:
    """A task may declare its label words without loading torch."""
    code = (
        "import sys; from codeprompt.verbalizers import Verbalizer; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
