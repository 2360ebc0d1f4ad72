"""What decoding remembers in a decoder-only pass: sources and answers in one cache a row.

Slots 0 to W hold a row's prompt columns and its source; slot W + t*K + k holds what its beam k
read at step t. Beams are queries over one cache under the ancestry mask `seen`, so that nothing
moves while a row runs. Rows join between steps: positions are each row's own, and slots of steps
before it came are masked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codeprompt.inject import Injected

if TYPE_CHECKING:
    from codeprompt.backbones._causal import Causal, Memory
    from codeprompt.backbones.base import Source

ROOM = 32
"""Steps that caches are laid out for at a time: most answers end sooner."""


class CausalState:
    """Caches of B rows with K beams.

    keys, values: by layer [R,H_kv,W+K*room,h], of R >= B rows. bias [B,1,1,W]: over columns and
    sources. positions [B]: of the token that is read next. ends [B,d]: where the first token of a
    fresh row comes from. injected: what the rows' prompts add at every step, in the rows' order.
    """

    def __init__(self, model: Causal, beams: int, rows: int = 0) -> None:
        self.model, self.beams, self.spare = model, beams, rows
        self.injected = Injected()
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.fresh: list[bool] = []
        self.step = self.room = self.width = 0
        empty = torch.empty(0)
        self.bias = self.seen = self.ends = self.itself = empty
        self.positions = self.starts = empty.long()

    @property
    def rows(self) -> int:
        """B: how many rows are in the batch."""
        return len(self.fresh)

    def board(self, hidden: Tensor, source: Source, injected: Injected, steps: int = ROOM) -> None:
        """Read sources that begin with the next step; hidden, injected: of the new rows."""
        self.join(self.model.remember(hidden, source, injected), steps)

    def join(self, memory: Memory, steps: int = ROOM) -> None:
        """Rows that begin with the next step, after those that run; steps: to lay out for."""
        count, width = len(memory.last), memory.bias.shape[3]
        if self.rows == 0:
            self._begin(memory, max(count, self.spare), width, min(steps, ROOM))
        old = self.rows
        held = self.keys[0].shape[0]
        if old + count > held or width > self.width:
            rows = held if old + count <= held else max(old + count, 2 * held)
            self._lay_out(rows, max(width, self.width), 0, self.room)
        used = self.width + self.step * self.beams
        for caches, news in ((self.keys, memory.keys), (self.values, memory.values)):
            for cache, new in zip(caches, news, strict=True):
                cache[old : old + count, :, :width] = new
                cache[old : old + count, :, width:used] = 0  # masked, but must be numbers
        over = _widened(memory.bias, self.width)
        shut = self.seen.new_full((count, 1, self.beams, self.beams * self.room), -math.inf)
        self.bias, self.seen = torch.cat([self.bias, over]), torch.cat([self.seen, shut])
        self.ends = torch.cat([self.ends, memory.ends])
        self.positions = torch.cat([self.positions, memory.next])
        self.starts = torch.cat([self.starts, self.starts.new_full((count,), self.step)])
        self.fresh += [True] * count

    def open(self) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Open this step's slots and move on by one.

        Returns keys and values of the slots in use, this step's K last, and their bias [B,1,K,S].
        A fresh row reads nothing yet: its slots stay masked.
        """
        if self.step == self.room:
            self._make_room()
        now, size = self.step * self.beams, (self.step + 1) * self.beams
        old = torch.tensor([not new for new in self.fresh], device=self.seen.device)
        own = torch.where(old[:, None, None, None], self.itself, -math.inf)
        self.seen[..., now:size] = own
        seen = self.seen[..., :size]
        bias = torch.cat([self.bias.expand(*seen.shape[:3], -1), seen], 3)
        self.positions = self.positions + old
        self.step += 1
        used = (slice(0, self.rows), slice(None), slice(0, self.width + size))
        return [k[used] for k in self.keys], [v[used] for v in self.values], bias

    def started(self) -> None:
        """Fresh rows have given their first logits."""
        self.fresh = [False] * self.rows

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,K]; only the ancestry moves."""
        if self.beams > 1 and self.step:
            size = self.step * self.beams
            seen = self.seen[..., :size]
            index = parents[:, None, :, None].expand(-1, -1, -1, size)
            self.seen[..., :size] = seen.gather(2, index)

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]; cheap where later rows fill the places."""
        chosen: list[int] = index.tolist()
        moves = [(to, row) for to, row in enumerate(chosen) if to != row]
        used = self.width + self.step * self.beams
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                if all(row >= len(chosen) for _, row in moves):
                    for to, row in moves:
                        cache[to, :, :used] = cache[row, :, :used]
                else:
                    caches[layer] = cache.index_select(0, index)
        self.bias, self.seen = self.bias[index], self.seen[index]
        self.ends, self.positions = self.ends[index], self.positions[index]
        self.starts = self.starts[index]
        self.fresh = [self.fresh[row] for row in chosen]
        self.injected = self.injected.select(index)

    def _begin(self, memory: Memory, rows: int, width: int, room: int) -> None:
        """Caches for the first rows."""
        self.width, self.step, self.room = width, 0, room
        self.keys = [self._empty(k, rows) for k in memory.keys]
        self.values = [self._empty(v, rows) for v in memory.values]
        like = memory.bias
        self.bias = like.new_zeros(0, 1, 1, width)
        self.seen = like.new_zeros(0, 1, self.beams, self.beams * room)
        self.itself = like.new_full((self.beams, self.beams), -math.inf).fill_diagonal_(0.0)
        self.ends = memory.states.new_zeros(0, memory.states.shape[2])
        self.positions = self.starts = memory.next.new_zeros(0)

    def _make_room(self) -> None:
        """Let go of the slots before the first row's, and lay out for more steps."""
        first = int(self.starts.min())
        self._lay_out(self.keys[0].shape[0], self.width, first, self.step - first + ROOM)

    def _lay_out(self, rows: int, width: int, first: int, room: int) -> None:
        """Caches for so many rows, columns and steps; slots before step `first` are let go."""
        live, k, kept = self.rows, self.beams, self.step - first
        begin, end = self.width + first * k, self.width + self.step * k
        before, self.width, self.room = self.width, width, room
        for caches in (self.keys, self.values):
            for layer, old in enumerate(caches):
                laid = self._empty(old, rows)
                laid[:live, :, :before] = old[:live, :, :before]
                laid[:live, :, before:width] = 0
                laid[:live, :, width : width + kept * k] = old[:live, :, begin:end]
                caches[layer] = laid
        seen = self.seen.new_full((live, 1, k, k * room), -math.inf)
        seen[..., : kept * k] = self.seen[..., first * k : self.step * k]
        self.bias = _widened(self.bias, width)
        self.seen, self.starts, self.step = seen, self.starts - first, kept

    def _empty(self, like: Tensor, rows: int) -> Tensor:
        return like.new_empty(
            rows, like.shape[1], self.width + self.beams * self.room, like.shape[3]
        )


def _widened(bias: Tensor, width: int) -> Tensor:
    """bias [B,1,1,S] with -inf up to a width."""
    return torch.nn.functional.pad(bias, (0, width - bias.shape[3]), value=-math.inf)
