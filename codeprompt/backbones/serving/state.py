"""What decoding remembers in a T5 serving pass: the sources, the caches, the beams' ancestry.

Rows join between steps. T5's decoder knows positions by distance alone, so a row that joins at step
t is a row padded on the left: its slots before t are masked, and nothing else changes for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.serving.pages import laid_out
from codeprompt.inject import Injected, SiteRows

if TYPE_CHECKING:
    from codeprompt.backbones.base import Source
    from codeprompt.backbones.serving.t5 import ServingT5

ROOM = 32
"""Steps that caches are laid out for at a time: most answers end sooner."""
WIDTH = 128
"""Source slots are laid out in multiples of this."""
STEP = 64
"""Source slots are read in multiples of this: torch keeps compiled products for every shape."""


@dataclass
class Memory:
    """Sources as the decoder sees them, their prompt columns included.

    pairs: [L,2,B,H,S,h], keys and values of every layer; bias [B,1,1,S].
    """

    pairs: Tensor
    bias: Tensor

    def select(self, index: Tensor) -> Memory:
        """The sources of some rows: index [R] -> memory of R rows."""
        return Memory(self.pairs.index_select(2, index), self.bias.index_select(0, index))


class State:
    """Caches of B rows with K beams; slot P + t*K + k holds what beam k read at step t.

    The first P slots hold the decoder's prompt columns. Beams are queries over one cache under the
    ancestry mask `seen`, so that nothing in the cache moves while a row runs. Caches and sources
    are laid out for more rows, steps and source slots than are in use, so that joining copies only
    what is new.

    injected: what the rows' prompts add at every step, in the rows' order; whoever lets rows join
        keeps it so.
    """

    def __init__(self, model: ServingT5, beams: int, rows: int = 0) -> None:
        """rows: to lay out for at first; memory that no row uses is never touched."""
        self.model, self.beams, self.spare = model, beams, rows
        self.injected = Injected()
        self.step = self.room = self.width = self.length = 0
        empty = torch.empty(0, device=model.device)
        self.starts, self.past, self.lengths = empty.long(), empty.long(), list[int]()
        self.caches = self.sources = self.seen = self.columns = self.line = empty
        self.over = empty
        self.placed: Tensor | None = None
        self.itself = empty.new_full((beams, beams), -math.inf, dtype=model.few).fill_diagonal_(0.0)

    @property
    def rows(self) -> int:
        """B: how many rows are in the batch."""
        return self.starts.shape[0]

    @property
    def memory(self) -> Memory:
        """The rows' sources."""
        length = min(self.sources.shape[4], -(-self.length // STEP) * STEP)
        pairs = self.sources.narrow(2, 0, self.rows).narrow(4, 0, length)
        return Memory(pairs, self.over.narrow(3, 0, length))

    def place(self, count: int, length: int) -> Tensor:
        """Where the sources of so many new rows, of that length, belong: [L,2,n,H,S,h]."""
        held, wide, old = self.sources.shape, math.ceil(length / WIDTH) * WIDTH, self.rows
        if old == 0 or old + count > held[2] or length > held[4]:
            rows = self.spare
            if old:
                rows, wide = held[2], max(wide, held[4])
            shape = self.model.memory_shape(max(rows, _more(old + count, rows)), wide)
            laid = laid_out(shape, self.line, self.model.many)
            for row, size in enumerate(self.lengths[:old]):
                laid[:, :, row, :, :size] = self.sources[:, :, row, :, :size]
                laid[:, :, row, :, size:] = 0
            self.sources = laid
        place = self.sources.narrow(2, old, count)
        place[..., length:, :] = 0  # masked, but must be numbers
        self.placed = place[..., :length, :]
        return self.placed

    def board(self, hidden: Tensor, source: Source, injected: Injected, steps: int = ROOM) -> None:
        """Remember sources [n,T,d] that begin with the next step; injected: of the new rows."""
        self.join(self.model.remember(hidden, source, injected, self.place), injected, steps)

    def join(self, memory: Memory, injected: Injected, steps: int = ROOM) -> None:
        """Rows that begin with the next step, after those that run.

        memory: best remembered into a `place`. injected: of the new rows; only its decoder columns
        are read. steps: to lay out for.
        """
        count, columns = memory.pairs.shape[2], injected.sites.get("decoder")
        width = 0 if columns is None else columns.bias.shape[1]
        self._join_sources(memory)
        if self.rows == 0:
            self._begin(max(count, self.spare), width, min(steps, ROOM))
        else:
            self._fit(self.rows + count, max(width, self.width))
        self._join_caches(count, columns)
        like, old = self.caches, self.rows
        closed = like.new_full((count, 1, self.beams, self.beams * self.room), -math.inf)
        self.seen = closed if old == 0 else torch.cat([self.seen, closed])
        self.starts = torch.cat([self.starts, self.starts.new_full((count,), self.step)])
        shape = (count,)
        past = None if columns is None else columns.past
        past = self.past.new_zeros(shape) if past is None else past.expand(shape)
        self.past = torch.cat([self.past, past])
        self._set_shift()

    def open(self) -> tuple[Tensor, Tensor]:
        """Open this step's slots and move on by one.

        Returns the slots in use, this step's K last [L,2,B,H,S,h], and their bias [B,H,K,S].
        """
        if self.step == self.room:
            self._make_room()
        now, size = self.step * self.beams, (self.step + 1) * self.beams
        self.seen.narrow(3, now, self.beams).copy_(self.itself)
        line = self.line.narrow(3, self.line.shape[3] - size, size)
        bias = line + self.seen.narrow(3, 0, size)
        if self.width:
            over = self.columns
            if self.shift is not None:
                over = over + self._past_bias(self.shift + self.step)
            bias = torch.cat([over.expand(*bias.shape[:3], -1), bias], 3)
        used = self.caches.narrow(2, 0, self.rows).narrow(4, 0, self.width + size)
        self.step += 1
        return used, bias

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,K]; only the ancestry moves."""
        if self.beams > 1:
            size = self.step * self.beams
            seen = self.seen.narrow(3, 0, size)
            index = parents[:, None, :, None].expand(-1, -1, -1, size)
            seen.copy_(seen.gather(2, index))

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]; cheap where later rows fill the places."""
        chosen: list[int] = index.tolist()
        moves = [(to, row) for to, row in enumerate(chosen) if to != row]
        if all(row >= len(chosen) for _, row in moves):
            used = self.width + self.step * self.beams
            for to, row in moves:
                self.caches[:, :, to, :, :used] = self.caches[:, :, row, :, :used]
                size = self.lengths[row]
                self.sources[:, :, to, :, :size] = self.sources[:, :, row, :, :size]
        else:
            self.caches = self.caches.index_select(2, index)
            self.sources = self.sources.index_select(2, index)
        self.lengths = [self.lengths[row] for row in chosen]
        self.length = max(self.lengths, default=0)
        self.injected = self.injected.select(index)
        self.seen, self.over = self.seen.index_select(0, index), self.over.index_select(0, index)
        self.columns = self.columns.index_select(0, index)
        self.starts, self.past = self.starts[index], self.past[index]
        self._set_shift()

    def _begin(self, rows: int, width: int, room: int) -> None:
        """Caches for the first rows."""
        layers, _, _, heads, _, size = self.sources.shape
        self.width, self.step = width, 0
        shape = (layers, 2, rows, heads, width + self.beams * room, size)
        self.caches = laid_out(shape, self.sources, self.model.few)
        self._set_room(room)
        self.columns = self.caches.new_zeros(0, 1, 1, width)

    def _join_sources(self, memory: Memory) -> None:
        old, (count, _, length) = self.rows, memory.pairs.shape[2:5]
        if old == 0:
            self.over, self.lengths = memory.bias[:0], []
        if old == 0 and memory.pairs is not self.placed:
            self.sources = memory.pairs  # taken as they lie
        elif memory.pairs is not self.placed:
            self.place(count, length).copy_(memory.pairs)
        self.placed = None
        wide = self.sources.shape[4]
        self.over = torch.cat([_padded(self.over, wide), _padded(memory.bias, wide)])
        self.lengths += _lengths(memory.bias)
        self.length = max(self.lengths)

    def _fit(self, rows: int, width: int) -> None:
        held = self.caches.shape[2]
        if rows > held or width > self.width:
            self._lay_out(max(held, _more(rows, held)), width, 0, self.room)

    def _make_room(self) -> None:
        """Let go of the slots before the first row's, and lay out for more steps."""
        first, rows = int(self.starts.min()), max(self.rows, self.caches.shape[2] // 2)
        self._lay_out(rows, self.width, first, self.step - first + ROOM)

    def _lay_out(self, rows: int, width: int, first: int, room: int) -> None:
        """Caches for so many rows, columns and steps; slots before step `first` are let go."""
        old, live, k = self.caches, self.rows, self.beams
        shape = (*old.shape[:2], rows, old.shape[3], width + k * room, old.shape[5])
        laid = laid_out(shape, old, old.dtype)
        laid[:, :, :live, :, : self.width] = old[:, :, :live, :, : self.width]
        laid[:, :, :live, :, self.width : width] = 0
        kept = self.step - first
        begin, end = self.width + first * k, self.width + self.step * k
        laid[:, :, :live, :, width : width + kept * k] = old[:, :, :live, :, begin:end]
        seen = self.seen.new_full((live, 1, k, k * room), -math.inf)
        seen[..., : kept * k] = self.seen[..., first * k : self.step * k]
        if width > self.width:
            self.columns = _padded(self.columns, width)
        self.caches, self.seen, self.width = laid, seen, width
        self.starts, self.step = self.starts - first, kept
        self._set_room(room)
        self._set_shift()

    def _join_caches(self, count: int, columns: SiteRows | None) -> None:
        """Columns of the new rows; their slots before this step are masked, but must be numbers."""
        place = self.caches.narrow(2, self.rows, count)
        place[..., : self.width + self.step * self.beams, :] = 0
        over = self.caches.new_full((count, 1, 1, self.width), -math.inf)
        if columns is not None:
            size = columns.bias.shape[1]
            place[..., :size, :] = columns_of(columns, place)
            over[..., :size] = columns.bias.to(over.dtype)[:, None, None, :]
        self.columns = torch.cat([self.columns, over])

    def _set_room(self, room: int) -> None:
        self.room = room
        backwards = torch.arange(1 - room, 1, device=self.caches.device)
        line = self.model.relative("decoder", backwards).to(self.caches.dtype)
        self.line = line.T.repeat_interleave(self.beams, 1)[None, :, None, :]

    def _set_shift(self) -> None:
        """How far a row's query stands after its columns at step 0; None where nowhere."""
        self.shift = self.past - self.starts if bool(self.past.any()) else None

    def _past_bias(self, query: Tensor) -> Tensor:
        """Over columns that real tokens stand after: query positions [B] -> [B,H,1,P]."""
        column = torch.arange(self.width, device=query.device)
        found = self.model.relative("decoder", column - query[:, None]).permute(0, 2, 1)
        found = found * (self.past > 0)[:, None, None]
        return found[:, :, None].to(self.columns.dtype)


def columns_of(rows: SiteRows, like: Tensor) -> Tensor:
    """A site's columns as pairs [L,2,B,H,P,h]."""
    pairs = torch.stack([rows.key, rows.value], 1).to(like.dtype)
    return pairs.expand(-1, -1, like.shape[2], -1, -1, -1)


def _padded(bias: Tensor, width: int) -> Tensor:
    """bias [B,1,1,S] with -inf up to a width."""
    return F.pad(bias, (0, width - bias.shape[3]), value=-math.inf)


def _lengths(bias: Tensor) -> list[int]:
    """The slots of each source up to its last real one: bias [B,1,1,S]."""
    place = torch.arange(1, bias.shape[3] + 1, device=bias.device)
    found: Sequence[int] = (place * (bias[:, 0, 0] > -math.inf)).amax(1).tolist()
    return list(found)


def _more(needed: int, held: int) -> int:
    """Rows to lay out for: doubled up to sixteen, then as asked."""
    return needed if needed > 16 else min(16, max(needed, 2 * held))
