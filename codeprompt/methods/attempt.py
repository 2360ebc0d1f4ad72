"""ATTEMPT: every input mixes frozen source prompts with a trained one, by attention.

Asai et al. 2022 (ATTEMPT: Parameter-Efficient Multi-task Tuning via Attentional Mixtures of Soft
Prompts), section 3.2: P(x) = P_t + sum_j a_j P_j over the K sources and P_t itself [P,d], a =
softmax(q(x) . p_j / T) with p_j = max-pool P_j, q(x) = LN(up SiLU(down max-pool x)) and T = d * e.
Sources are frozen; the target prompt and the attention train. We differ: the soft vectors stand
before the template's hard words; padding and the slots themselves are left out of the pool; one
learning rate for both parts (theirs has one for each). r = 64 (100 there).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from codeprompt.inject import Gate, Injection
from codeprompt.methods._gates import QueryNet, SourceMethod, SourceSettings, sources_of
from codeprompt.methods._slots import Init, slots
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class AttemptSettings(SourceSettings):
    """rank: r of the attention. temperature: T, 0 for d * e. init: of the target prompt."""

    rank: int = 64
    temperature: float = 0.0
    init: Init = "vocabulary"


class Attention(PromptModule):
    """Frozen sources [K,P,d], the target prompt [P,d], and the query's two maps and norm."""

    def __init__(self, context: Context, settings: AttemptSettings) -> None:
        super().__init__()
        size = context.backbone.d_model
        self.sources = nn.Parameter(sources_of(context), requires_grad=False)
        started = slots(context, settings.init)
        assert started is not None  # `fitted` has put slots into the template
        self.target = started.vectors
        self.net = QueryNet(size, settings.rank, context.generator())
        self.temperature = settings.temperature or size * math.e

    def forward(self) -> Injection:
        every = torch.cat([self.sources, self.target[None]])
        query = self.net.query(every.amax(1) / self.temperature)
        return Injection(gate=Gate(every, query, self.target))


class Attempt(SourceMethod[AttemptSettings]):
    """Slots before the hard template, filled for each row."""

    settings = AttemptSettings

    def build(self, context: Context, settings: AttemptSettings) -> PromptModule:
        return with_head(context, attention=Attention(context, settings))


METHOD = Attempt()
