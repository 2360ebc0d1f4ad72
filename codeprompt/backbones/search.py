"""A search that rows enter and leave between steps: what greedy search, draws and beams share.

Every row has settings, a length and a limit of its own; all rows take one step together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.processors import Processor


@dataclass(frozen=True)
class Ask:
    """What one row asks of a search.

    allowed: bool [V], the only tokens that may be generated. seed: in place of the decoding's.
    """

    decoding: Decoding
    allowed: Tensor | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Tokens:
    """The numbers of the end token, of what fills up, and of the decoder's first token."""

    eos: int
    pad: int
    start: int


class DecoderState(Protocol):
    """Where the decoder stands: B rows with K beams each."""

    @property
    def rows(self) -> int:
        """B: how many rows are still in the batch."""
        ...

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,K]."""
        ...

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        ...


class Search:
    """B rows with K beams or paths each.

    tokens [B,K] are what the decoder reads next; history [B,K,W] has the start token first; age,
    limit [B] count tokens made and allowed. A row that is done stays as it is until it leaves.
    """

    def __init__(self, beams: int, tokens: Tokens, device: torch.device) -> None:
        self.beams, self.known, self.device = beams, tokens, device
        self.asks: list[Ask] = []
        self.tokens = torch.empty(0, beams, dtype=torch.long, device=device)
        self.history = self.tokens.new_empty(0, beams, 1)
        self.age = self.tokens.new_empty(0)
        self.limit = self.tokens.new_empty(0)
        self.busy = False

    @property
    def closed(self) -> list[bool]:
        """Which rows are done."""
        raise NotImplementedError

    def advance(self, logits: Tensor, state: DecoderState) -> None:
        """Choose from logits [B,K,V]."""
        raise NotImplementedError

    def stop(self) -> None:
        """Close every row as it stands."""
        raise NotImplementedError

    def answers(self, rows: Sequence[int]) -> list[list[Hypothesis]]:
        """What rows give back, the best first."""
        raise NotImplementedError

    def add(self, asks: Sequence[Ask]) -> None:
        """Rows that begin with the next step, after those that run."""
        count, limits = len(asks), [ask.decoding.max_new_tokens for ask in asks]
        self.asks += asks
        fresh = self.tokens.new_full((count, self.beams), self.known.start)
        self.tokens = torch.cat([self.tokens, fresh])
        self.age = torch.cat([self.age, self.age.new_zeros(count)])
        self.limit = torch.cat([self.limit, self.limit.new_tensor(limits)])
        # One place for the start token, and one that closed rows may write to.
        self.history = widened(self.history, max(limits) + 2, self.known.pad)
        more = self.history.new_full((count, *self.history.shape[1:]), self.known.pad)
        more[..., 0] = fresh
        self.history = torch.cat([self.history, more])
        self._look()

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        self.asks = [self.asks[row] for row in index.tolist()]
        self.tokens, self.history = self.tokens[index], self.history[index]
        self.age, self.limit = self.age[index], self.limit[index]
        self._look()

    def processed(self, scores: Tensor) -> Tensor:
        """Scores [B,K,V] after every row's penalties and bans, changed in place."""
        for decoding, age, rows in self._groups():
            allowed = [self.asks[row].allowed for row in rows]
            bans = [mask for mask in allowed if mask is not None]
            processor = Processor(decoding, self.known.eos, torch.stack(bans) if bans else None)
            if not processor.active:
                continue
            if len(rows) == len(self.asks):
                return processor(scores, self.history[..., : age + 1])
            index = torch.tensor(rows, device=self.device)
            history = self.history[index, :, : age + 1]
            scores[index] = processor(scores[index], history)
        return scores

    def write(self, history: Tensor, tokens: Tensor) -> None:
        """Put tokens [B,K] behind histories [B,K,W]."""
        place = (self.age + 1)[:, None, None].expand(-1, tokens.shape[1], 1)
        history.scatter_(2, place, tokens.unsqueeze(-1))

    def _groups(self) -> Iterator[tuple[Decoding, int, list[int]]]:
        """Rows of one decoding and one age; with bans and without stand apart."""
        found: dict[tuple[Decoding, bool, int], list[int]] = {}
        for row, (ask, age) in enumerate(zip(self.asks, self.age.tolist(), strict=True)):
            found.setdefault((ask.decoding, ask.allowed is None, age), []).append(row)
        for (decoding, _, age), rows in found.items():
            yield decoding, age, rows

    def _look(self) -> None:
        """Whether any row has penalties or bans at all."""
        eos = self.known.eos
        self.busy = any(Processor(a.decoding, eos, a.allowed).active for a in self.asks)


def widened(table: Tensor, width: int, fill: int) -> Tensor:
    """table [...,W] of at least that width."""
    missing = width - table.shape[-1]
    return table if missing <= 0 else F.pad(table, (0, missing), value=fill)
