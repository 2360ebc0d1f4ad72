"""Residual prompt: a soft prompt plus what a small network makes of it, P' = LN(MLP(P)) + P.

Razdaibiedina et al. 2023 (Residual Prompt Tuning), section 3: one shared down-ReLU-up bottleneck
with LayerNorm and a skip connection; the network is dropped after training, and a pack holds P'
[P,d] alone. We differ: the norm's gain starts small rather than at one, so that P' starts at the
vocabulary vectors and not one LayerNorm away from them (embeddings here are far smaller than one).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeprompt.inject import Injection
from codeprompt.methods._slots import Init, SlotMethod, started
from codeprompt.methods.base import Context, PromptModule, with_head

SMALL = 0.1
"""The norm's initial gain, as a share of the embedding's spread."""


@dataclass(frozen=True)
class ResidualSettings:
    """length: P. bottleneck: width of the network. init: see `_slots`."""

    length: int = 20
    bottleneck: int = 64
    init: Init = "vocabulary"


class Residual(PromptModule):
    """P [P,d] and the network they share."""

    def __init__(self, start: Tensor, settings: ResidualSettings, context: Context) -> None:
        super().__init__()
        size, m, generator = start.shape[1], settings.bottleneck, context.generator()
        self.vectors = nn.Parameter(start.clone())
        self.down = nn.Parameter(torch.randn(m, size, generator=generator) * size**-0.5)
        self.up = nn.Parameter(torch.randn(size, m, generator=generator) * m**-0.5)
        self.norm = nn.LayerNorm(size)
        spread = context.backbone.embedding.weight.detach().float().std()
        with torch.no_grad():
            self.norm.weight.fill_(SMALL * float(spread))

    def forward(self) -> Injection:
        wide = torch.relu(self.vectors @ self.down.T)
        mapped: Tensor = self.norm(wide @ self.up.T)
        return Injection(slots=mapped + self.vectors)


class ResidualPrompt(SlotMethod[ResidualSettings]):
    """`{soft:P}` at the front, folded after training."""

    settings = ResidualSettings

    def build(self, context: Context, settings: ResidualSettings) -> PromptModule:
        start = started(context, settings.init)
        return with_head(context, prompt=Residual(start, settings, context))


METHOD = ResidualPrompt()
