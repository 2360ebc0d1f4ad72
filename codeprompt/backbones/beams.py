"""Beam search over all rows at once, with Hugging Face's meaning of every setting.

Each step keeps the 2K best continuations of a row's K beams: those among the first K that end are
finished (score: summed log-probability / length ** length_penalty, the end token counted), the best
K of the rest go on. A row is done by `early_stopping` (see `Decoding`) or at the limit, where its
beams count as finished. Facts from `GenerationMixin._beam_search` of transformers 5.23; ours lets
finished rows leave the batch and marks an empty place by -inf in place of -1e9, so that nothing
comes back twice where fewer than K sequences exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.processors import Processor

if TYPE_CHECKING:
    from codeprompt.backbones.generation import Decoder, DecoderState


class Finished:
    """The K best finished sequences of each row, best first; -inf where there is none yet.

    scores [B,K]; ids [B,K,steps]; lengths [B,K] with the end token; ended [B,K] by the end token.
    """

    def __init__(self, tokens: Tensor, steps: int) -> None:
        self.scores = torch.full(tokens.shape, -math.inf, device=tokens.device)
        self.ids = tokens.new_zeros(*tokens.shape, steps)
        self.lengths = torch.zeros_like(tokens)
        self.ended = torch.zeros_like(tokens, dtype=torch.bool)

    def add(self, scores: Tensor, ids: Tensor, length: int, ended: Tensor) -> None:
        """Merge candidates: scores [B,K] (-inf: not one), ids [B,K,steps], ended [B,K]."""
        beams = self.scores.shape[1]
        self.scores, order = torch.cat([self.scores, scores], 1).topk(beams)
        lengths = torch.full_like(self.lengths, length)
        self.lengths = torch.cat([self.lengths, lengths], 1).gather(1, order)
        self.ended = torch.cat([self.ended, ended], 1).gather(1, order)
        self.ids = rows_of(torch.cat([self.ids, ids], 1), order)

    def select(self, index: Tensor) -> None:
        """Go on with some rows only."""
        self.scores, self.ids = self.scores[index], self.ids[index]
        self.lengths, self.ended = self.lengths[index], self.ended[index]

    def hypotheses(self, candidates: int) -> list[list[Hypothesis]]:
        """What each row gives back."""
        tables = (self.ids, self.scores, self.lengths, self.ended)
        answers = []
        for row in zip(*(table[:, :candidates].tolist() for table in tables), strict=True):
            found = [
                Hypothesis(tuple(ids[: length - end]), score, end)
                for ids, score, length, end in zip(*row, strict=True)
                if score != -math.inf
            ]
            answers.append(found or [Hypothesis((), -math.inf, False)])
        return answers


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """table [B,N,U] at index [B,K] of N -> [B,K,U]."""
    return table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[2]))


def beam_search(
    model: Decoder,
    state: DecoderState,
    decoding: Decoding,
    processor: Processor,
    tokens: Tensor,
    eos: int,
    should_stop: Callable[[], bool] | None,
) -> list[list[Hypothesis]]:
    """The best `candidates` sequences of each row; tokens [B,K] hold the start token."""
    rows, beams = tokens.shape
    steps, penalty = decoding.max_new_tokens, decoding.length_penalty
    answers: list[list[Hypothesis]] = [[] for _ in range(rows)]
    live = list(range(rows))
    history = tokens.new_zeros(rows, beams, steps + 1)
    history[..., 0] = tokens
    running = torch.full((rows, beams), -math.inf, device=tokens.device)
    running[:, 0] = 0.0
    finished = Finished(tokens, steps)
    done = torch.zeros(rows, dtype=torch.bool, device=tokens.device)
    full = False
    for t in range(steps):
        if should_stop is not None and should_stop():
            open_scores = running / max(t, 1) ** penalty
            open_scores = open_scores.masked_fill(done[:, None], -math.inf)
            finished.add(open_scores, history[..., 1:], t, torch.zeros_like(finished.ended))
            break
        scores, parents, tokens = _continue(
            model, state, processor, tokens, history[..., : t + 1], running
        )
        ends = tokens == eos
        closing = (ends[:, :beams] | (t + 1 == steps)) & ~done[:, None]
        if bool(closing.any()):
            closed = (scores[:, :beams] / (t + 1) ** penalty).masked_fill(~closing, -math.inf)
            sequences = rows_of(history, parents[:, :beams])[..., 1:]
            sequences[..., t] = tokens[:, :beams]
            finished.add(closed, sequences, t + 1, ends[:, :beams])
            full = full or bool(finished.scores[:, -1].isfinite().any())
        if t + 1 == steps:
            break
        running, order = scores.masked_fill(ends, -math.inf).topk(beams)
        parents, tokens = parents.gather(1, order), tokens.gather(1, order)
        state.reorder(parents)
        history = rows_of(history, parents)
        history[..., t + 1] = tokens
        if not (full or processor.active):  # no row can be done
            continue
        done = done | _exhausted(decoding, running[:, 0], finished.scores[:, -1], t + 1)
        shut = done.tolist()
        if all(shut):
            break
        if 2 * sum(shut) >= len(live):
            _collect(answers, live, finished.hypotheses(decoding.candidates), shut)
            keep = [row for row, is_done in enumerate(shut) if not is_done]
            live = [live[row] for row in keep]
            index = torch.tensor(keep, device=tokens.device)
            state.select(index)
            processor.select(index)
            finished.select(index)
            tokens, history, running = tokens[index], history[index], running[index]
            done = done[index]
    _collect(answers, live, finished.hypotheses(decoding.candidates), [True] * len(live))
    return answers


def _continue(
    model: Decoder,
    state: DecoderState,
    processor: Processor,
    tokens: Tensor,
    history: Tensor,
    running: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best 2K continuations of each row: summed log-probability, parent beam, token, [B,2K]."""
    beams = tokens.shape[1]
    fresh = model.step(tokens, state).float().log_softmax(-1)
    if processor.active:
        fresh = processor(fresh, history)
    # The best of each beam first: the big sort then runs over beams in parallel.
    each = min(2 * beams, fresh.shape[-1])
    best, ids = fresh.topk(each)
    best = (best + running.unsqueeze(-1)).flatten(1)
    scores, flat = best.topk(min(2 * beams, best.shape[1]))
    return scores, flat // each, ids.flatten(1).gather(1, flat)


def _exhausted(decoding: Decoding, best: Tensor, worst: Tensor, length: int) -> Tensor:
    """Rows to leave [B], by the best running sum [B] and the worst finished score [B]."""
    if decoding.early_stopping is True:
        return worst.isfinite() | (best == -math.inf)
    if decoding.early_stopping == "never" and decoding.length_penalty > 0.0:
        length = decoding.max_new_tokens
    reach: Tensor = best / length**decoding.length_penalty
    return reach <= worst


def _collect(
    answers: list[list[Hypothesis]],
    live: list[int],
    found: list[list[Hypothesis]],
    shut: list[bool],
) -> None:
    for row, hypotheses, is_done in zip(live, found, shut, strict=True):
        if is_done:
            answers[row] = hypotheses
