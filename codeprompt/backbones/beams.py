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
from collections.abc import Sequence

import torch
from torch import Tensor

from codeprompt.backbones.decoding import Hypothesis
from codeprompt.backbones.search import Ask, DecoderState, Search, Tokens, widened


class Finished:
    """The K best finished sequences of each row, best first; -inf where there is none yet.

    scores [B,K]; ids [B,K,W] from the start token on; lengths [B,K] with the end token; ended
    [B,K] by the end token.
    """

    def __init__(self, beams: int, device: torch.device) -> None:
        self.scores = torch.empty(0, beams, device=device)
        self.ids = torch.empty(0, beams, 1, dtype=torch.long, device=device)
        self.lengths = torch.empty(0, beams, dtype=torch.long, device=device)
        self.ended = torch.empty(0, beams, dtype=torch.bool, device=device)

    def grow(self, rows: int, width: int) -> None:
        """Rows without a finished sequence."""
        shape = (rows, self.scores.shape[1])
        self.scores = torch.cat([self.scores, self.scores.new_full(shape, -math.inf)])
        ids = widened(self.ids, width, 0)
        self.ids = torch.cat([ids, ids.new_zeros(*shape, ids.shape[2])])
        self.lengths = torch.cat([self.lengths, self.lengths.new_zeros(shape)])
        self.ended = torch.cat([self.ended, self.ended.new_zeros(shape)])

    def add(self, scores: Tensor, ids: Tensor, length: Tensor, ended: Tensor) -> None:
        """Merge candidates: scores [B,K] (-inf: not one), ids [B,K,W], length [B], ended [B,K]."""
        beams = self.scores.shape[1]
        self.scores, order = torch.cat([self.scores, scores], 1).topk(beams)
        lengths = length[:, None].expand(-1, beams)
        self.lengths = torch.cat([self.lengths, lengths], 1).gather(1, order)
        self.ended = torch.cat([self.ended, ended], 1).gather(1, order)
        self.ids = rows_of(torch.cat([self.ids, ids], 1), order)

    def select(self, index: Tensor) -> None:
        """Go on with some rows only."""
        self.scores, self.ids = self.scores[index], self.ids[index]
        self.lengths, self.ended = self.lengths[index], self.ended[index]


class Beams(Search):
    """running [B,K]: summed log-probability of the beams that go on; done [B].

    penalty [B]: the exponent of length; eager, hopeful bool [B]: `early_stopping` True and "never".
    """

    def __init__(self, beams: int, tokens: Tokens, device: torch.device) -> None:
        super().__init__(beams, tokens, device)
        self.running = torch.empty(0, beams, device=device)
        self.done = torch.empty(0, dtype=torch.bool, device=device)
        self.penalty = torch.empty(0, dtype=torch.float64, device=device)
        self.eager = self.hopeful = self.done
        self.finished = Finished(beams, device)
        self.full = False

    def add(self, asks: Sequence[Ask]) -> None:
        """Rows that begin with the next step: one beam that counts, and K - 1 without a chance."""
        super().add(asks)
        running = self.running.new_full((len(asks), self.beams), -math.inf)
        running[:, 0] = 0.0
        self.running = torch.cat([self.running, running])
        self.done = torch.cat([self.done, self.done.new_zeros(len(asks))])
        penalties = [float(ask.decoding.length_penalty) for ask in asks]
        self.penalty = torch.cat([self.penalty, self.penalty.new_tensor(penalties)])
        eager = [ask.decoding.early_stopping is True for ask in asks]
        hopeful = [
            ask.decoding.early_stopping == "never" and ask.decoding.length_penalty > 0.0
            for ask in asks
        ]
        self.eager = torch.cat([self.eager, self.done.new_tensor(eager)])
        self.hopeful = torch.cat([self.hopeful, self.done.new_tensor(hopeful)])
        self.finished.grow(len(asks), self.history.shape[2])

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        super().select(index)
        self.running, self.done = self.running[index], self.done[index]
        self.penalty, self.eager = self.penalty[index], self.eager[index]
        self.hopeful = self.hopeful[index]
        self.finished.select(index)
        self.full = bool(self.finished.scores[:, -1].isfinite().any())

    @property
    def closed(self) -> list[bool]:
        """Rows that no running beam can better, or that reached their limit."""
        found: list[bool] = self.done.tolist()
        return found

    def advance(self, logits: Tensor, state: DecoderState) -> None:
        """The best K beams of each row go on; those that end are finished."""
        scores, parents, tokens = self._continue(logits)
        ends = tokens == self.known.eos
        length = self.age + 1
        last = (length >= self.limit)[:, None]
        closing = (ends[:, : self.beams] | last) & ~self.done[:, None]
        if bool(closing.any()):
            self._close(scores, parents, tokens, ends, closing)
        self.running, order = scores.masked_fill(ends, -math.inf).topk(self.beams)
        parents, self.tokens = parents.gather(1, order), tokens.gather(1, order)
        state.reorder(parents)
        self.history = rows_of(self.history, parents)
        self.write(self.history, self.tokens)
        self.age = torch.where(self.done, self.age, length)
        self.done = self.done | (self.age >= self.limit)
        if self.full or self.busy:  # no other row can be done
            self.done = self.done | self.exhausted()

    def stop(self) -> None:
        """Close every row as it stands: its running beams count as finished."""
        norm = _norm(self.age.clamp(min=1), self.penalty)
        scores = (self.running / norm).masked_fill(self.done[:, None], -math.inf)
        ended = torch.zeros_like(self.finished.ended)
        self.finished.add(scores, self.history, self.age, ended)
        self.done = torch.ones_like(self.done)

    def answers(self, rows: Sequence[int]) -> list[list[Hypothesis]]:
        """The best `candidates` of each row."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        tables = (self.finished.ids, self.finished.scores)
        more = (self.finished.lengths, self.finished.ended)
        out = []
        for number, *row in zip(rows, *(t[index].tolist() for t in (*tables, *more)), strict=True):
            found = [
                Hypothesis(tuple(ids[1 : 1 + length - end]), score, end)
                for ids, score, length, end in zip(*row, strict=True)
                if score != -math.inf
            ][: self.asks[number].decoding.candidates]
            out.append(found or [Hypothesis((), -math.inf, False)])
        return out

    def _continue(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best 2K continuations of each row: summed log-probability, parent, token [B,2K]."""
        beams = self.beams
        fresh = logits.float().log_softmax(-1)
        if self.busy:
            fresh = self.processed(fresh)
        # The best of each beam first: the big sort then runs over beams in parallel.
        each = min(2 * beams, fresh.shape[-1])
        best, ids = fresh.topk(each)
        best = (best + self.running.unsqueeze(-1)).flatten(1)
        scores, flat = best.topk(min(2 * beams, best.shape[1]))
        return scores, flat // each, ids.flatten(1).gather(1, flat)

    def _close(
        self, scores: Tensor, parents: Tensor, tokens: Tensor, ends: Tensor, closing: Tensor
    ) -> None:
        beams, length = self.beams, self.age + 1
        found = scores[:, :beams] / _norm(length, self.penalty)
        sequences = rows_of(self.history, parents[:, :beams])
        self.write(sequences, tokens[:, :beams])
        found = found.masked_fill(~closing, -math.inf)
        self.finished.add(found, sequences, length, ends[:, :beams])
        self.full = self.full or bool(self.finished.scores[:, -1].isfinite().any())

    def exhausted(self) -> Tensor:
        """Rows to leave [B], by their best running sum and their worst finished score."""
        best, worst = self.running[:, 0], self.finished.scores[:, -1]
        length = torch.where(self.hopeful, self.limit, self.age)
        reach = best / _norm(length.clamp(min=1), self.penalty)[:, 0]
        eager = worst.isfinite() | (best == -math.inf)
        return torch.where(self.eager, eager, reach <= worst)


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """table [B,N,U] at index [B,K] of N -> [B,K,U]."""
    return table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[2]))


def _norm(length: Tensor, penalty: Tensor) -> Tensor:
    """length ** penalty of each row: [B,1]."""
    return length.double().pow(penalty).float()[:, None]
