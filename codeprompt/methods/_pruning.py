"""Vectors that are pruned by importance, whole and in pieces, then rewound and trained again.

Ma et al. 2022 (XPrompt) and Han et al. 2023 (E2VPT), section 3.3: the importance of a
vector, or of one of its contiguous pieces, is E|dL/dgamma| for a factor gamma = 1 on it, summed up
over the training rows without a step of the optimiser. Pieces are scored where the pruned vectors
are zero. What survives goes back to its values after the first training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from codeprompt.methods.base import PromptModule


class Prunable(PromptModule):
    """Vectors [L,P,d] in stages: all of them, then one stage for each share that is kept.

    One vector is pruned in all of L at once, so that it is gone; a piece in each layer alone, and
    is zero. At least one vector stays, and one piece of each.
    """

    tokens: Tensor
    pieces: Tensor
    token_scores: Tensor
    piece_scores: Tensor
    rewound: Tensor

    def __init__(self, initial: Tensor, pieces: int, kept: Sequence[float]) -> None:
        super().__init__()
        layers, length, size = initial.shape
        self.values = nn.Parameter(initial.float().clone())
        self.kept, self.count = tuple(kept), pieces
        self.of_piece = torch.arange(size) * pieces // size
        self.register_buffer("tokens", torch.ones(length, dtype=torch.bool))
        self.register_buffer("pieces", torch.ones(layers, length, pieces, dtype=torch.bool))
        self.register_buffer("token_scores", torch.zeros(length))
        self.register_buffer("piece_scores", torch.zeros(layers, length, pieces))
        self.register_buffer("rewound", torch.zeros_like(self.values))
        self._gammas: tuple[Tensor, Tensor] | None = None

    @property
    def stages(self) -> tuple[bool, ...]:
        return (False, *(True for _ in self.kept))

    def pruned(self) -> Tensor:
        """What is left, [L,P',d]; all P while importance is measured."""
        if self._gammas is not None:
            tokens, pieces = self._gammas
            return self.values * tokens[:, None] * pieces[..., self.of_piece]
        return (self.values * self.pieces[..., self.of_piece])[:, self.tokens]

    def advance(self, stage: int, losses: Callable[[], Iterator[Tensor]]) -> None:
        if stage == 0:
            self.rewound.copy_(self.values.detach())
            ones = torch.ones_like(self.token_scores), torch.ones_like(self.piece_scores)
            self.token_scores.copy_(self._importance(ones, 0, losses))
            alive = top(self.token_scores, max(self.kept)).to(ones[0])
            self.piece_scores.copy_(self._importance((alive, ones[1]), 1, losses))
        share = self.kept[stage]
        self.tokens.copy_(top(self.token_scores, share))
        self.pieces.copy_(top(self.piece_scores, share))
        with torch.no_grad():
            self.values.copy_(self.rewound)

    def _importance(
        self, gammas: tuple[Tensor, Tensor], which: int, losses: Callable[[], Iterator[Tensor]]
    ) -> Tensor:
        own = gammas[which].requires_grad_()
        total = torch.zeros_like(own)
        self._gammas = gammas
        try:
            for loss in losses():
                (found,) = torch.autograd.grad(loss, own)
                total += found.abs()
        finally:
            self._gammas = None
            own.requires_grad_(False)
        return total.detach()


def top(scores: Tensor, share: float) -> Tensor:
    """Which of the last dimension are among its best `share`, at least one: bool like scores."""
    count = max(1, round(share * scores.shape[-1]))
    found = torch.zeros_like(scores, dtype=torch.bool)
    return found.scatter(-1, scores.topk(count, -1).indices, True)


def check_shares(kept: Sequence[float], pieces: int) -> None:
    """Raises `ValueError`, which settings turn into words for the user."""
    if not kept or not all(0 < share <= 1 for share in kept):
        raise ValueError(f"the kept shares are {list(kept)}, and go from above 0 to 1")
    if pieces < 1:
        raise ValueError(f"pieces is {pieces}, and there must be one at least")
