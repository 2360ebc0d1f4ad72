"""From scores of label words to calibrated label probabilities.

A word's score is the mean log-probability of its tokens (length-normalised, so that a word of
three tokens is not punished for its length); a label's is the log of the mean probability of its
words; labels are normalised among themselves. Contextual calibration (Zhao et al. 2021, Calibrate
Before Use, section 5) divides by what a content-free input gives: W = diag(p_cf)^-1, b = 0. Ours
works on log-probabilities and normalises again, so that the result is a distribution.

Everything is differentiable: training and serving take the same path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from codeprompt.errors import UsageError

CONTENT_FREE = ("", "N/A", "...")
"""Inputs without content; their label probabilities are averaged (Zhao et al. average three)."""
FLOOR = 1e-6
"""No prior is below this: one label that a content-free input excludes must stay possible."""


def word_scores(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Mean log-probability of each word's tokens: [..,W,N], lengths [W] -> [..,W].

    Entries from a word's length on are padding and are not read.
    """
    steps = torch.arange(log_probs.shape[-1], device=log_probs.device)
    inside = steps < lengths.to(log_probs.device).unsqueeze(-1)
    return log_probs.masked_fill(~inside, 0.0).sum(-1) / lengths.to(log_probs)


def label_log_probs(
    scores: Tensor,
    index: Sequence[int],
    labels: int,
    prior: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Label log-probabilities: scores of words [..,W] -> [..,C].

    index: the label of each word, W entries in 0..C-1. prior: log-prior [C] to divide by, or None.
    Raises `UsageError` where a label has no word.
    """
    by_label: list[list[int]] = [[] for _ in range(labels)]
    for position, label in enumerate(index):
        by_label[label].append(position)
    if any(not words for words in by_label):
        raise UsageError(f"Label number {[bool(w) for w in by_label].index(False)} has no words")
    columns = [
        scores[..., words].logsumexp(-1) - math.log(len(words))
        if len(words) > 1
        else scores[..., words[0]]
        for words in by_label
    ]
    found = torch.stack(columns, -1).log_softmax(-1)
    return found if prior is None else calibrated(found, prior)


def calibrated(log_probs: Tensor, prior: Sequence[float] | Tensor) -> Tensor:
    """Divide label probabilities by a prior and normalise: [..,C] and log-prior [C] -> [..,C]."""
    known = torch.as_tensor(prior, dtype=log_probs.dtype, device=log_probs.device)
    if known.shape != log_probs.shape[-1:]:
        raise UsageError(
            f"The prior has {known.numel()} labels and the scores {log_probs.shape[-1]}"
        )
    return (log_probs - known).log_softmax(-1)


def log_prior(log_probs: Tensor) -> tuple[float, ...]:
    """The log-prior [C] of N content-free inputs: the mean of their probabilities.

    log_probs: uncalibrated label log-probabilities [N,C] of the same prompt on `CONTENT_FREE`.
    """
    mean = log_probs.detach().double().exp().mean(0).clamp_min(FLOOR)
    return tuple((mean / mean.sum()).log().tolist())
