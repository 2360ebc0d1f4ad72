"""P-tuning v1: a BiLSTM and an MLP write the pseudo-tokens of the template.

Liu et al. 2021 (GPT Understands, Too), section 3.2: Embedding[P,d] -> BiLSTM (d/2 each way, 2
layers) -> Linear-ReLU-Linear gives the vectors at the template's soft positions; the network is
dropped after training. Where the template has no soft slot, half of P stands before and half
behind, as their patterns put pseudo-tokens around the input. We differ in the start alone: the
network's outcome is added to vocabulary vectors and is small at first, since few shots do not find
the way back from noise; `init=none` starts from the network alone, as theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from codeprompt.methods._network import Written
from codeprompt.methods._slots import SlotMethod, started
from codeprompt.methods.base import Context, PromptModule, with_head
from codeprompt.template import Segment, Soft, Template


@dataclass(frozen=True)
class PTuningSettings:
    """length: P, half of it on either side. layers: of the BiLSTM. init: see `_slots`; none: 0."""

    length: int = 20
    layers: int = 2
    init: Literal["vocabulary", "random", "labels", "text", "none"] = "vocabulary"

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ValueError(f"length {self.length} leaves nothing for one side")


class PTuning(SlotMethod[PTuningSettings]):
    """Pseudo-tokens around the hard template."""

    settings = PTuningSettings

    def placed(self, hard: Template, settings: PTuningSettings) -> Sequence[Segment]:
        before = settings.length // 2
        return (Soft(before), *hard.segments, Soft(settings.length - before))

    def build(self, context: Context, settings: PTuningSettings) -> PromptModule:
        small = settings.init != "none"
        vectors = started(context, "vocabulary" if settings.init == "none" else settings.init)
        if not small:
            vectors = torch.zeros_like(vectors)
        return with_head(
            context, encoder=Written(vectors, "lstm", settings.layers, context.seed, small=small)
        )


METHOD = PTuning()
