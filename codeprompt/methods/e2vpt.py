"""E2VPT: layer vectors and one tensor that stands in keys and values alike, pruned and rewound.

Han et al. 2023 (E2VPT: An Effective and Efficient Approach for Visual Prompt Tuning), sections
3.2-3.3: VPT-deep's vectors [L,P,d] and, in every layer, a prompt [H,n,h] that is prepended to keys
and to values; then vectors and 16 segments of each are pruned by E|dL/dmask|, all is rewound to its
values after the first training and tuned again; the kept share comes from dev. We differ: a vector
is pruned in all layers at once, so that its column is gone; the shares tried are 0.3, 0.5 and 0.7
(theirs: 10-90% each). A run takes a recipe's steps for the first training and for every share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeprompt.inject import Columns, Injection, Stack
from codeprompt.methods._pruning import Prunable, check_shares
from codeprompt.methods._vectors import spread
from codeprompt.methods.base import Context, Method, PromptModule, with_head


@dataclass(frozen=True)
class E2VptSettings:
    """length: P before pruning. shared: n. dropout: on the vectors while training.

    kept: shares of vectors and of every survivor's segments that dev chooses from. pieces: the
    segments of a vector.
    """

    length: int = 16
    shared: int = 5
    dropout: float = 0.1
    kept: tuple[float, ...] = (0.3, 0.5, 0.7)
    pieces: int = 16

    def __post_init__(self) -> None:
        check_shares(self.kept, self.pieces)
        if self.length < 1 or self.shared < 1:
            raise ValueError(f"length is {self.length} and shared {self.shared}, at least 1 each")


class PrunedLayers(Prunable):
    """Layer vectors [L,P',d] of the first stack, and `shared` [L,H,n,h] at its self-attention."""

    rewound_shared: Tensor

    def __init__(self, context: Context, settings: E2VptSettings) -> None:
        backbone, generator = context.backbone, context.generator()
        stack: Stack = next(iter(backbone.stacks))
        shape = backbone.sites[stack]
        size = (backbone.stacks[stack], settings.length, backbone.d_model)
        initial = (2 * torch.rand(size, generator=generator) - 1) * spread(context)
        super().__init__(initial, settings.pieces, settings.kept)
        self.stack, self.dropout = stack, nn.Dropout(settings.dropout)
        both = (shape.layers, shape.heads, settings.shared, shape.head_dim)
        half = (6 / (2 * shape.heads * shape.head_dim)) ** 0.5
        self.shared = nn.Parameter((2 * torch.rand(both, generator=generator) - 1) * half)
        self.register_buffer("rewound_shared", torch.zeros_like(self.shared))

    def forward(self) -> Injection:
        return Injection(
            layers={self.stack: self.dropout(self.pruned())},
            columns={self.stack: Columns(self.shared, self.shared)},
        )

    def advance(self, stage: int, losses: Callable[[], Iterator[Tensor]]) -> None:
        if stage == 0:
            self.rewound_shared.copy_(self.shared.detach())
        super().advance(stage, losses)
        with torch.no_grad():
            self.shared.copy_(self.rewound_shared)


class E2Vpt(Method[E2VptSettings]):
    """The hard template stays as it is."""

    settings = E2VptSettings
    kind = "columns"

    def build(self, context: Context, settings: E2VptSettings) -> PromptModule:
        return with_head(context, layers=PrunedLayers(context, settings))


METHOD = E2Vpt()
