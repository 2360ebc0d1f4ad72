"""Multitask prompt tuning: one prompt shared by all sources, bent to a task by rank-one factors.

Wang et al. 2023 (Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning): P_k = P* o
(u_k v_k^T), P* [P,d], u_k [P], v_k [d]. Stage 1 distils K teacher prompts (the sources) into P* and
their factors: KL on what they predict, and the mean square between hidden states. Stage 2 trains P*
and the target's factors, which start as the means of the sources', at two learning rates (factors
4/3 as fast: 0.4 to 0.3 there). We differ: a pack brings no rows, so teachers are asked about the
target's, in its template, without their labels; P* starts as the mean of the teachers; factors
start at one with noise (near zero P_k would be nothing, and P* would learn nothing); the pack keeps
P_k alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeprompt.inject import Injection
from codeprompt.methods._gates import SourceMethod, SourceSettings, sources_of
from codeprompt.methods.base import Context, Lessons, PromptModule, with_head

NOISE = 0.02
"""Of the factors at their start, so that the sources' are not alike."""


@dataclass(frozen=True)
class MptSettings(SourceSettings):
    """lessons: steps of stage 1, 0 for none. pace: how many times as fast factors learn as P*."""

    lessons: int = 100
    pace: float = 4 / 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lessons < 0 or not self.pace > 0:
            raise ValueError(f"lessons is {self.lessons} and pace {self.pace}")


class Multitask(PromptModule):
    """P* [P,d]; bent_u [K+1,P] and bent_v [K+1,d], the target's last: factors are 1 + pace * bent.

    In these units an optimiser that takes steps of one size moves factors `pace` times as fast.
    """

    def __init__(self, context: Context, settings: MptSettings) -> None:
        super().__init__()
        teachers = sources_of(context)
        count, length, size = teachers.shape
        self.register_buffer("teachers", teachers, persistent=False)
        self.pace, self.steps = settings.pace, settings.lessons
        self.shared = nn.Parameter(teachers.mean(0))
        generator = context.generator()
        noise = [torch.randn(count, n, generator=generator) for n in (length, size)]
        own = [NOISE / settings.pace * torch.cat([n, n.mean(0, keepdim=True)]) for n in noise]
        self.bent_u, self.bent_v = (nn.Parameter(part) for part in own)

    teachers: Tensor

    def prompt(self, k: int) -> Tensor:
        """P_k [P,d]; of the target where k is -1."""
        u, v = 1 + self.pace * self.bent_u[k], 1 + self.pace * self.bent_v[k]
        return self.shared * torch.outer(u, v)

    def forward(self) -> Injection:
        return Injection(slots=self.prompt(-1))

    def lessons(self) -> Lessons:
        teachers = tuple(Injection(slots=one) for one in self.teachers)
        return Lessons(teachers, lambda k: Injection(slots=self.prompt(k)), self.steps, self._turn)

    @torch.no_grad()
    def _turn(self) -> None:
        """Between the stages: the target's factors become the means of the sources'."""
        for part in (self.bent_u, self.bent_v):
            part[-1] = part[:-1].mean(0)


class Mpt(SourceMethod[MptSettings]):
    """The sources' slots before the hard template."""

    settings = MptSettings

    def build(self, context: Context, settings: MptSettings) -> PromptModule:
        return with_head(context, multitask=Multitask(context, settings))


METHOD = Mpt()
