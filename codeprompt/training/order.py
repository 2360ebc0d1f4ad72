"""Which rows a step sees: a function of seed and step alone, so that resuming needs no state.

Rows of like length share a batch: the epoch's permutation is cut into windows of a few batches,
and inside a window rows are dealt out by length. Less padding is computed (PERFORMANCE.md measured
two thirds of the time), and batches stay random as windows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

WINDOW = 8
"""Batches in a window at most; small data has at least two windows, so that epochs differ."""


class Order:
    """The order of some rows.

    lengths: of each row, in tokens. batch: rows a step; never more than there are.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.seed = list(lengths), seed
        self.batch = min(batch, len(self.lengths))
        self.per_epoch = -(-len(self.lengths) // self.batch)
        self._epoch = lru_cache(maxsize=2)(self._batches)

    def rows(self, step: int) -> list[int]:
        """The rows of a step (from 0), longest first; every epoch has each row at least once."""
        epoch, place = divmod(step, self.per_epoch)
        return self._epoch(epoch)[place]

    def _batches(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(self.lengths), generator=generator).tolist()
        # The epoch's last batch is filled up from its beginning.
        order += order[: self.per_epoch * self.batch - len(order)]
        window = self.batch * min(WINDOW, max(1, self.per_epoch // 2))
        batches = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: -self.lengths[i])
            batches += [near[i : i + self.batch] for i in range(0, len(near), self.batch)]
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[i] for i in shuffled]
