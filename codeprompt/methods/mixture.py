"""Mixture of prompts: N prompts learn together, and a gate picks the best of them for each input.

What a mixture of experts (Shazeer et al. 2017, section 2; Fedus et al. 2022, Switch Transformers,
section 2.2) honestly means on a frozen small model: the experts are N soft prompts [N,P,d], the
router is the gate of `attempt` with a trained key for each, softmax over the top-k, and the
load-balance loss N sum_n f_n p_n keeps one prompt from taking every row. Inspired by them, and by
FLAN-MoE's finding that experts pay once they are tuned on instructions; it is not their model. We
differ: no noise in the router, and what is mixed are prompts before one pass, not outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from codeprompt.inject import Gate, Injection
from codeprompt.methods._gates import QueryNet
from codeprompt.methods._slots import Init, SlotMethod, bank
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class MixtureSettings:
    """prompts: N. top: how many of them a row mixes; 0 for all. length: P. rank: r of the gate.

    balance: weight of the load-balance loss.
    """

    prompts: int = 4
    top: int = 2
    length: int = 20
    rank: int = 32
    balance: float = 0.01
    init: Init = "vocabulary"

    def __post_init__(self) -> None:
        if self.prompts < 1 or not 0 <= self.top <= self.prompts:
            raise ValueError(f"{self.prompts} prompts of which {self.top} count")


class Mixture(PromptModule):
    """Prompts [N,P,d] of unlike starts, a key [N,d] for each, and the query."""

    def __init__(self, context: Context, settings: MixtureSettings) -> None:
        super().__init__()
        size, generator = context.backbone.d_model, context.generator()
        self.sources = nn.Parameter(bank(context, settings.init, settings.prompts))
        keys = torch.randn(settings.prompts, size, generator=generator)
        self.keys = nn.Parameter(keys / size)
        self.net = QueryNet(size, settings.rank, generator)
        self.top, self.balance = settings.top, settings.balance

    def forward(self) -> Injection:
        query, balance = self.net.query(self.keys), self.balance if self.training else 0.0
        return Injection(gate=Gate(self.sources, query, None, self.top, balance=balance))


class MixtureMethod(SlotMethod[MixtureSettings]):
    """`{soft:P}` at the front of the hard template."""

    settings = MixtureSettings

    def build(self, context: Context, settings: MixtureSettings) -> PromptModule:
        return with_head(context, mixture=Mixture(context, settings))


METHOD = MixtureMethod()
