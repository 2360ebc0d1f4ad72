"""What decoding remembers in a T5 serving pass: the source, the caches, the beams' ancestry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codeprompt.inject import Injected, Site, SiteRows

if TYPE_CHECKING:
    from codeprompt.backbones.serving.t5 import ServingT5


@dataclass
class Memory:
    """A source as the decoder sees it, its prompt columns included.

    pairs: [L,2,B,H,S,h], keys and values of every layer; bias [B,1,1,S] or None.
    """

    pairs: Tensor
    bias: Tensor | None

    def to(self, dtype: torch.dtype) -> Memory:
        """The same in another dtype."""
        return Memory(self.pairs.to(dtype), None if self.bias is None else self.bias.to(dtype))

    def select(self, index: Tensor) -> Memory:
        """The sources of some rows: index [R] -> memory of R rows."""
        bias = None if self.bias is None else self.bias.index_select(0, index)
        return Memory(self.pairs.index_select(2, index), bias)


class State:
    """Static caches of B rows with K beams; slot P + t*K + k holds what beam k read at step t.

    The first P slots hold the decoder's prompt columns. Beams are queries over one cache under the
    ancestry mask `seen`, so that nothing in the cache ever moves.
    """

    def __init__(
        self, model: ServingT5, memory: Memory, injected: Injected, beams: int, steps: int
    ) -> None:
        layers, _, rows, heads, _, size = memory.pairs.shape
        self.memory, self.beams, self.step, self.width = memory, beams, 0, 0
        self.injected = without(injected, "decoder", "cross")
        columns = injected.sites.get("decoder")
        if columns is not None:
            self.width = columns.bias.shape[1]
        shape = (layers, 2, rows, heads, self.width + beams * steps, size)
        like = self.pairs = memory.pairs.new_empty(shape, dtype=model.few)
        self.over: Tensor | None = None
        if columns is not None:
            self.pairs.narrow(4, 0, self.width).copy_(columns_of(columns, like))
            self.over = columns.bias.to(like.dtype)[:, None, None, :].expand(rows, -1, -1, -1)
            if columns.past is not None:
                moves = torch.arange(steps, device=like.device)
                past = model.column_bias("decoder", columns.past, moves, self.width)
                self.over = self.over + past.to(like.dtype).expand(rows, -1, -1, -1)
        backwards = torch.arange(1 - steps, 1, device=like.device)
        line = model.relative("decoder", backwards).to(like.dtype).T.repeat_interleave(beams, 1)
        self.line = line[None, :, None, :]
        self.seen: Tensor | None = None
        if beams > 1:
            self.seen = like.new_full((rows, 1, beams, beams * steps), float("-inf"))
            self.itself = like.new_full((beams, beams), float("-inf")).fill_diagonal_(0.0)

    @property
    def rows(self) -> int:
        """B: how many rows are still in the batch."""
        return self.pairs.shape[2]

    def used(self) -> Tensor:
        """The slots in use, this step's K last: [L,2,B,H,S,h]."""
        return self.pairs.narrow(4, 0, self.width + (self.step + 1) * self.beams)

    def bias(self) -> Tensor:
        """This step's bias over the slots in use, prompt columns included: [B|1,H,1|K,S]."""
        now, size = self.step * self.beams, (self.step + 1) * self.beams
        bias = self.line.narrow(3, self.line.shape[3] - size, size)
        if self.seen is not None:
            self.seen.narrow(3, now, self.beams).copy_(self.itself)
            bias = bias + self.seen.narrow(3, 0, size)
        if self.over is not None:
            over = self.over if self.over.shape[2] == 1 else self.over.narrow(2, self.step, 1)
            shape = (self.rows, bias.shape[1], bias.shape[2], -1)
            bias = torch.cat([over.expand(*shape), bias.expand(*shape)], 3)
        return bias

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,K]; only the ancestry moves."""
        if self.seen is not None:
            index = parents[:, None, :, None].expand(-1, -1, -1, self.seen.shape[3])
            self.seen = self.seen.gather(2, index)

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]; the others' caches are let go."""
        self.pairs = self.pairs.index_select(2, index)
        self.memory, self.injected = self.memory.select(index), self.injected.select(index)
        if self.seen is not None:
            self.seen = self.seen.index_select(0, index)
        if self.over is not None:
            self.over = self.over.index_select(0, index)


def columns_of(rows: SiteRows, like: Tensor) -> Tensor:
    """A site's columns as pairs [L,2,B,H,P,h]."""
    pairs = torch.stack([rows.key, rows.value], 1).to(like.dtype)
    return pairs.expand(-1, -1, like.shape[2], -1, -1, -1)


def without(injected: Injected, *sites: Site) -> Injected:
    """What is left of the prompts once these sites' columns have joined the caches."""
    if not injected.sites:
        return injected
    left = {site: rows for site, rows in injected.sites.items() if site not in sites}
    return replace(injected, sites=left)
