"""What stands between a model's scores and the choice of a token: penalties, bans and warps.

Same numbers as Hugging Face's logits processors (transformers 5.23), in its order: repetition
penalty, repeated n-grams, minimum length, forbidden tokens; then, for draws alone, temperature,
top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024). Beam search gives
log-probabilities and does not normalise them again; greedy search and draws give logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codeprompt.backbones.decoding import Decoding


class Processor:
    """The penalties and bans of one search; `active` is False where there is nothing to do.

    eos: the end token. allowed: bool [V] or [B,V], tokens that may be generated, or None for all.
    """

    def __init__(self, decoding: Decoding, eos: int, allowed: Tensor | None) -> None:
        self.penalty, self.ngram = decoding.repetition_penalty, decoding.no_repeat_ngram
        self.least, self.eos = decoding.min_new_tokens, eos
        self.forbidden = None if allowed is None else ~allowed
        self.active = self.penalty != 1.0 or self.ngram > 0 or self.least > 0 or allowed is not None

    def __call__(self, scores: Tensor, history: Tensor) -> Tensor:
        """Change scores [B,K,V] in place, after history [B,K,U] with the start token first."""
        if self.penalty != 1.0:
            penalise(scores, history, self.penalty)
        if self.ngram > 0:
            ban_ngrams(scores, history, self.ngram)
        if history.shape[-1] <= self.least:
            scores[..., self.eos] = -math.inf
        if self.forbidden is not None:
            mask = self.forbidden if self.forbidden.dim() == 1 else self.forbidden[:, None]
            scores.masked_fill_(mask, -math.inf)
        return scores


def penalise(scores: Tensor, history: Tensor, penalty: float) -> None:
    """Divide positive and multiply negative scores [B,K,V] of the tokens in history [B,K,U]."""
    seen = scores.gather(-1, history)
    scores.scatter_(-1, history, torch.where(seen < 0, seen * penalty, seen / penalty))


def ban_ngrams(scores: Tensor, history: Tensor, size: int) -> None:
    """-inf for every token that would complete an n-gram of history [B,K,U] a second time."""
    length = history.shape[-1]
    if length < size:
        return
    grams = history.unfold(-1, size, 1)
    suffix = history[..., length + 1 - size :]
    again = (grams[..., :-1] == suffix.unsqueeze(-2)).all(-1)
    ban = torch.where(again, -math.inf, math.inf).to(scores.dtype)
    scores.scatter_reduce_(-1, grams[..., -1], ban, "amin")


def warp(scores: Tensor, decoding: Decoding) -> Tensor:
    """The scores [...,V] whose softmax a draw follows; a token that cannot be drawn has -inf."""
    if decoding.temperature != 1.0:
        scores = scores / decoding.temperature
    if decoding.top_k > 0:
        least = scores.topk(min(decoding.top_k, scores.shape[-1])).values[..., -1:]
        scores = scores.masked_fill(scores < least, -math.inf)
    if decoding.top_p < 1.0:
        rising, order = scores.sort(-1)
        outside = rising.softmax(-1).cumsum(-1) <= 1.0 - decoding.top_p
        outside[..., -1] = False
        scores = scores.masked_fill(
            torch.zeros_like(outside).scatter(-1, order, outside), -math.inf
        )
    if decoding.min_p > 0.0:
        probabilities = scores.softmax(-1)
        least = decoding.min_p * probabilities.amax(-1, keepdim=True)
        scores = scores.masked_fill(probabilities < least, -math.inf)
    return scores


class Draws:
    """A stream of uniform numbers for each row and candidate, so that neighbours change nothing.

    Row b's candidate n draws from its own generator, seeded by seeds[b] and n alone: [B,N,steps].
    """

    def __init__(self, seeds: list[int], candidates: int, steps: int, device: torch.device) -> None:
        numbers = torch.empty(len(seeds), candidates, steps, dtype=torch.float64)
        for row, seed in enumerate(seeds):
            for candidate in range(candidates):
                generator = torch.Generator().manual_seed(mix(seed, candidate))
                numbers[row, candidate].uniform_(generator=generator)
        self.numbers = numbers.to(device)

    def __call__(self, scores: Tensor, step: int) -> Tensor:
        """A token for scores [B,N,V] -> [B,N]."""
        return draw(scores, self.numbers[..., step : step + 1])


def draw(scores: Tensor, numbers: Tensor) -> Tensor:
    """A token for scores [B,N,V] by uniform numbers [B,N,1], inverting the distribution: [B,N]."""
    rising = scores.double().softmax(-1).cumsum(-1)
    whole = rising[..., -1:]
    aim = numbers * whole
    aim = torch.minimum(aim, torch.nextafter(whole, torch.zeros_like(whole)))
    # right=True steps over tokens of probability zero, also where the number drawn is zero
    token = torch.searchsorted(rising, aim, right=True).squeeze(-1)
    return token.clamp(max=scores.shape[-1] - 1)


def mix(seed: int, candidate: int) -> int:
    """One seed of two numbers; torch's generator on the processor reads 32 bits of it."""
    return (seed * 0x9E3779B1 + candidate * 0x85EBCA77) % (1 << 32)
