"""What the T5 decoder keeps between steps: the remembered source and the static caches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codeprompt.inject import Injected


@dataclass
class Memory:
    """A source as the decoder sees it: per layer k, v [B,H,S,h], and the padding bias [B,1,1,S]."""

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor | None

    def select(self, index: Tensor) -> Memory:
        """The sources of some rows: index [R] -> memory of R rows."""
        return Memory(
            [k.index_select(0, index) for k in self.keys],
            [v.index_select(0, index) for v in self.values],
            None if self.bias is None else self.bias.index_select(0, index),
        )


class DecodeState:
    """Static caches of B rows with K beams: slot t*K + k holds what beam k read at step t."""

    def __init__(self, memory: Memory, injected: Injected, beams: int, steps: int) -> None:
        like = memory.keys[0]
        rows, heads, _, size = like.shape
        shape = (rows, heads, beams * steps, size)
        self.keys = [like.new_empty(shape) for _ in memory.keys]
        self.values = [like.new_empty(shape) for _ in memory.keys]
        self.memory, self.injected, self.beams, self.step = memory, injected, beams, 0
        self.ancestors = torch.zeros(rows, beams, 0, dtype=torch.long, device=like.device)

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]; only the ancestry moves, never the cache."""
        index = parents.unsqueeze(-1).expand(-1, -1, self.ancestors.shape[2])
        self.ancestors = self.ancestors.gather(1, index)

    @property
    def rows(self) -> int:
        """B: how many rows are still in the batch."""
        return self.ancestors.shape[0]

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]; the others' caches are let go."""
        used = slice(0, self.step * self.beams)
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                caches[layer] = cache.new_empty(index.shape[0], *cache.shape[1:])
                caches[layer][:, :, used] = cache[:, :, used].index_select(0, index)
        self.ancestors = self.ancestors.index_select(0, index)
        self.memory = self.memory.select(index)
        self.injected = self.injected.select(index)
