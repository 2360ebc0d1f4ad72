"""DePT: a shorter soft prompt, and a low-rank change of the input's embeddings for what it saved.

Shi & Lipani 2024 (DePT: Decomposed Prompt Tuning), section 2.2: of a soft prompt's l*d parameters,
m*d stay a prompt and (s+d)*r become B A [s,d], added to the embeddings of the first s real tokens;
attention is over l-m positions less. B starts at zero. We differ: the second learning rate is
`speed` times the prompt's (their 1e-4..5e-3 beside 0.3), by the scale of the factors, so that one
optimiser serves both; where the input is shorter than s, only its first rows of B A are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods._slots import Init, SlotMethod, slots
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class DeptSettings:
    """budget: l, whose l*d parameters are spent. length: m. speed: of the factors.

    tokens: s; 0 for 256, or d where that is less.
    """

    budget: int = 20
    length: int = 12
    tokens: int = 0
    speed: float = 0.03
    init: Init = "vocabulary"

    def __post_init__(self) -> None:
        if not 1 <= self.length < self.budget or self.tokens < 0 or self.speed <= 0:
            raise ValueError(
                f"length {self.length} is to stand below the budget {self.budget}, speed above zero"
            )


def shape(settings: DeptSettings, d: int) -> tuple[int, int]:
    """s, and the largest r with m*d + (s+d)*r <= l*d. Raises `UsageError` where that is zero."""
    tokens = settings.tokens or min(256, d)
    rank = (settings.budget - settings.length) * d // (tokens + d)
    if rank < 1:
        raise UsageError(
            f"A budget of {settings.budget} vectors of {d} leaves no rank for {tokens} tokens "
            f"beside {settings.length} vectors",
            do="Lower length or tokens, or raise budget",
        )
    return tokens, rank


class Table(PromptModule):
    """B A [s,d] by factors that learn `speed` times as fast as they stand."""

    def __init__(self, context: Context, settings: DeptSettings) -> None:
        super().__init__()
        d, self.speed = context.backbone.d_model, settings.speed
        tokens, r = shape(settings, d)
        first = torch.randn(r, d, generator=context.generator()) * r**-0.5
        spread = context.backbone.embedding.weight.detach().float().std()
        self.first = nn.Parameter(first * spread / self.speed)
        self.second = nn.Parameter(torch.zeros(tokens, r))

    def forward(self) -> Injection:
        return Injection(added=self.speed * (self.second @ (self.speed * self.first)))


class Dept(SlotMethod[DeptSettings]):
    """`{soft:m}` in front, and a table that is added to the code's embeddings."""

    settings = DeptSettings

    def build(self, context: Context, settings: DeptSettings) -> PromptModule:
        return with_head(
            context, slots=slots(context, settings.init), table=Table(context, settings)
        )


METHOD = Dept()
