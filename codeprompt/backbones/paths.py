"""Greedy search and draws: N independent paths for each row, N = 1 or the candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.processors import Draws, draw, warp
from codeprompt.backbones.search import Ask, DecoderState, Search, Tokens


class Paths(Search):
    """totals [B,N]: summed log-probabilities; lengths, done, ended [B,N] of every path.

    told: bool [B,N], which paths the last step gave a token that is not the end.
    """

    def __init__(self, paths: int, tokens: Tokens, device: torch.device) -> None:
        super().__init__(paths, tokens, device)
        self.totals = torch.empty(0, paths, device=device)
        self.lengths = torch.empty_like(self.tokens)
        self.done = self.ended = self.told = torch.empty_like(self.tokens, dtype=torch.bool)
        self.numbers: list[Tensor | None] = []

    def add(self, asks: Sequence[Ask]) -> None:
        """Rows that begin with the next step."""
        super().add(asks)
        shape = (len(asks), self.beams)
        self.totals = torch.cat([self.totals, self.totals.new_zeros(shape)])
        self.lengths = torch.cat([self.lengths, self.lengths.new_zeros(shape)])
        self.done = torch.cat([self.done, self.done.new_zeros(shape)])
        self.ended = torch.cat([self.ended, self.ended.new_zeros(shape)])
        self.told = torch.cat([self.told, self.told.new_zeros(shape)])
        self.numbers += [self._numbers(ask) for ask in asks]

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        super().select(index)
        self.totals, self.lengths = self.totals[index], self.lengths[index]
        self.done, self.ended = self.done[index], self.ended[index]
        self.told = self.told[index]
        self.numbers = [self.numbers[row] for row in index.tolist()]

    @property
    def closed(self) -> list[bool]:
        """Rows whose paths have all ended or reached the limit."""
        found: list[bool] = self.done.all(-1).tolist()
        return found

    def advance(self, logits: Tensor, state: DecoderState) -> None:
        """The likeliest token of each path, or the one that is drawn."""
        logits, done = logits.float(), self.done
        scores = self.processed(logits.clone()) if self.busy else logits
        if self.busy:
            done = done | (scores.amax(-1) == -math.inf)
        tokens = scores.argmax(-1)
        self._draw(scores, tokens)
        chosen = logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
        self.totals = self.totals + chosen.masked_fill(done, 0.0)
        self.lengths = self.lengths + ~done
        self.tokens = tokens = tokens.masked_fill(done, self.known.pad)
        self.write(self.history, tokens)
        ends = ~done & (tokens == self.known.eos)
        self.told = ~(done | ends)
        self.ended, done = self.ended | ends, done | ends
        self.age = self.age + ~done.all(-1)
        self.done = done | (self.age >= self.limit)[:, None]

    def stop(self) -> None:
        """Close every row as it stands."""
        self.done = torch.ones_like(self.done)

    def ids(self, row: int) -> tuple[int, ...]:
        """A row's first path so far, the end token left out."""
        length = int(self.lengths[row, 0]) - int(self.ended[row, 0])
        return tuple(self.history[row, 0, 1 : 1 + length].tolist())

    def answers(self, rows: Sequence[int]) -> list[list[Hypothesis]]:
        """Every path, in the order of its number."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        tables = (self.history, self.lengths, self.totals, self.ended)
        return [
            [
                Hypothesis(tuple(path[1 : 1 + length - end]), total / max(length, 1), end)
                for path, length, total, end in zip(*columns, strict=True)
            ]
            for columns in zip(*(table[index].tolist() for table in tables), strict=True)
        ]

    def _numbers(self, ask: Ask) -> Tensor | None:
        """What a row draws from: [N,steps]."""
        if not ask.decoding.sample:
            return None
        seed = ask.decoding.seed if ask.seed is None else ask.seed
        draws = Draws([seed], self.beams, ask.decoding.max_new_tokens, self.device)
        return draws.numbers[0]

    def _draw(self, scores: Tensor, tokens: Tensor) -> None:
        """Put drawn tokens into [B,N] where rows draw."""
        groups: dict[Decoding, list[int]] = {}
        for row, ask in enumerate(self.asks):
            if ask.decoding.sample:
                groups.setdefault(ask.decoding, []).append(row)
        for decoding, rows in groups.items():
            last = decoding.max_new_tokens - 1
            numbers = torch.stack([n for r in rows if (n := self.numbers[r]) is not None])
            index = torch.tensor(rows, device=self.device)
            place = self.age[index].clamp(max=last)[:, None, None].expand(-1, self.beams, 1)
            tokens[index] = draw(warp(scores[index], decoding), numbers.gather(2, place))
