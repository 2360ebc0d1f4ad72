"""Generation by several members a row: one search, whose step mixes what the members say.

The members of a row are rows of the model's state; the search sees the row alone. Both a serving
copy and the backbone itself are wrapped the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class EnsembleState:
    """A state of B*K rows as one of B: what the search moves is moved for every member.

    inner: the model's own. shares: log a_k [B,K].
    """

    def __init__(self, inner: Any, shares: Tensor) -> None:
        self.inner, self.shares = inner, shares

    @property
    def count(self) -> int:
        """K."""
        return self.shares.shape[1]

    @property
    def rows(self) -> int:
        """B."""
        return self.shares.shape[0]

    def reorder(self, parents: Tensor) -> None:
        """Beam k goes on from beam parents[:, k]: [B,beams]."""
        self.inner.reorder(parents.repeat_interleave(self.count, 0))

    def select(self, index: Tensor) -> None:
        """Go on with some rows only: index [R]."""
        self.inner.select(member_rows(index, self.count))
        self.shares = self.shares[index]


class Ensemble:
    """A model that generates for rows of K members each."""

    def __init__(self, model: Any, shares: Tensor) -> None:
        self.model, self.shares = model, shares

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    def begin(self, memory: Any, injected: Any, beams: int, steps: int) -> EnsembleState:
        """A state for at most `steps` calls of `step`; memory, injected: of all members."""
        return EnsembleState(self.model.begin(memory, injected, beams, steps), self.shares)

    def step(self, ids: Tensor, state: EnsembleState) -> Tensor:
        """One token for each beam: ids [B,beams] -> log sum_k a_k p_k [B,beams,V]."""
        return mixed_step(self.model.step, ids, state.inner, state.shares)


def mixed_step(
    step: Callable[[Tensor, Any], Tensor], ids: Tensor, state: Any, shares: Tensor
) -> Tensor:
    """A step of all members, and log sum_k a_k p_k: ids [B,beams], shares [B,K] -> [B,beams,V]."""
    count = shares.shape[1]
    found = step(ids.repeat_interleave(count, 0), state).float().log_softmax(-1)
    each = found.view(-1, count, *found.shape[1:])
    return torch.logsumexp(each + shares.to(each.dtype)[:, :, None, None], 1)


def member_rows(index: Tensor, count: int) -> Tensor:
    """Places of rows as those of their members: [R] -> [R*K]."""
    return (index[:, None] * count + torch.arange(count, device=index.device)).flatten()
