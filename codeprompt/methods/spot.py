"""SPoT: a soft prompt that starts from the prompt of a source task, found by its likeness.

Vu et al. 2022 (SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer), sections 2 and
4: the likeness of two tasks is the cosine of their prompts' mean tokens [d]; the target's prompt
[P,d] starts from the nearest source (top = 1), or from the mean of the `top` nearest weighed by
their cosines. The target's own mean token comes from a soft prompt that is tuned on its rows first,
where there is more than one source to choose from. We differ: that one runs the recipe's steps
(theirs is an early checkpoint), and a weight below zero counts as zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.errors import UsageError
from codeprompt.methods._gates import SourceMethod, SourceSettings, sources_of
from codeprompt.methods._slots import Slots
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class SpotSettings(SourceSettings):
    """top: how many of the nearest sources the start is a mean of."""

    top: int = 1


def nearest(sources: Tensor, target: Tensor, top: int) -> Tensor:
    """The start [P,d]: sources [K,P,d], the target's own prompt [Q,d]."""
    alike = F.cosine_similarity(sources.mean(1), target.mean(0)[None], dim=-1)
    values, places = alike.topk(top)
    weights = values.clamp(min=0.0)
    if float(weights.sum()) == 0.0:  # nothing is alike: all of them equally
        weights = torch.ones_like(weights)
    return torch.einsum("k,kpd->pd", weights / weights.sum(), sources[places])


class Spot(SourceMethod[SpotSettings]):
    """The slots of the source before the hard template; they train as in `soft`."""

    settings = SpotSettings

    def grows(self, settings: SpotSettings) -> tuple[str, ...]:
        own = super().grows(settings)
        return (
            (*own, "soft") if self.count(settings) > 1 else own
        )  # the last is the target's, to compare with

    def build(self, context: Context, settings: SpotSettings) -> PromptModule:
        count = self.count(settings)
        own = context.given[count:]
        sources = sources_of(context, count)
        if not 1 <= settings.top <= count:
            raise UsageError(f"top is {settings.top}", expected=f"1 to {count}, as many as sources")
        if not own:
            start = sources.mean(0)
        else:
            assert own[0].injection.slots is not None  # a soft prompt
            start = nearest(sources, own[0].injection.slots.float(), settings.top)
        return with_head(context, slots=Slots(start))


METHOD = Spot()
