"""Soft prompt: trained vectors before the input, backbone frozen.

Lester, Al-Rfou & Constant 2021 (The Power of Scale for Parameter-Efficient Prompt Tuning),
section 2. We differ: the vectors stand before the template's hard words, not before the bare
input, since on small backbones few-shot training starts better from an instruction that already
works; 20 vectors rather than 100, for they share 512 positions with the code. `prompts=N` is their
prompt ensembling (section 6): N prompts in one batch, whose answers are voted on; written text has
no votes that mean anything, and is made of the mean probability at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from codeprompt.inject import Gate, Injection
from codeprompt.methods._slots import Init, SlotMethod, bank, slots
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class SoftSettings:
    """length: P, unless the template has soft slots of its own. init: see `_slots`.

    prompts: N of an ensemble. combine: their answers, by the mean of probabilities or by votes.
    """

    length: int = 20
    init: Init = "vocabulary"
    prompts: int = 1
    combine: Literal["mean", "votes"] = "votes"

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise ValueError(f"there are {self.prompts} prompts")


class Bank(PromptModule):
    """N prompts [N,P,d] of unlike starts; each learns by its own loss, all of them in one batch."""

    def __init__(self, context: Context, settings: SoftSettings) -> None:
        super().__init__()
        self.sources = nn.Parameter(bank(context, settings.init, settings.prompts))
        self.over: Literal["outputs", "votes"] = (
            "votes" if settings.combine == "votes" else "outputs"
        )

    def forward(self) -> Injection:
        return Injection(gate=Gate(self.sources, over=self.over))


class SoftPrompt(SlotMethod[SoftSettings]):
    """`{soft:P}` at the front of the hard template."""

    settings = SoftSettings

    def build(self, context: Context, settings: SoftSettings) -> PromptModule:
        if settings.prompts > 1:
            return with_head(context, bank=Bank(context, settings))
        return with_head(context, slots=slots(context, settings.init))


METHOD = SoftPrompt()
