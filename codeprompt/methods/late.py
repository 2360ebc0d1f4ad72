"""Late prompt tuning: the prompt enters in the middle of the encoder, made of the row itself.

Liu et al. 2022 (Late Prompt Tuning: A Late Prompt Could Be Better Than Many Prompts): a late prompt
lies nearer to the loss, and a generator (down [r,d], up [d,r]) writes it from the states that layer
m has of the row (theirs with pooling). P(x) [P,d], one a row. What lies below m is computed once a
row while training. We differ: the generator's output is added to trained vectors [P,d], which start
as what the layers below m make of common tokens; both are learned in units of those states' own
size, which grows with depth in T5; the slots stand before the template's hard words and count for
positions from the start. m is half the encoder's layers; P = 10, r = 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Source, Span
from codeprompt.errors import UsageError
from codeprompt.inject import Injection, Late
from codeprompt.methods._slots import COMMONEST, SlotMethod, first_word, slots_needed
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class LateSettings:
    """layer: m, the first that sees the prompt, from 0; -1 for the middle. length: P.

    rank: r of the generator; 0 for none, the same prompt for every row.
    """

    layer: int = -1
    length: int = 10
    rank: int = 64

    def __post_init__(self) -> None:
        if self.layer < -1 or self.length < 1 or self.rank < 0:
            raise ValueError(f"layer {self.layer}, length {self.length}, rank {self.rank}")


class LatePrompt(PromptModule):
    """Vectors [P,d] and the generator's two maps, in units of `size`."""

    def __init__(self, context: Context, settings: LateSettings) -> None:
        super().__init__()
        backbone, generator = context.backbone, context.generator()
        count = slots_needed(context.template)
        layers = backbone.stacks["encoder"]
        self.layer = layers // 2 if settings.layer < 0 else settings.layer
        if self.layer >= layers:
            raise UsageError(
                f"layer is {settings.layer}, and {backbone.name} has {layers} in its encoder",
                expected=f"0 to {layers - 1}, or -1 for the middle",
            )
        started = states_at(backbone, self.layer, count, generator)
        self.size = float(started.pow(2).mean().sqrt())
        self.vectors = nn.Parameter(started / self.size)
        self.down: nn.Parameter | None = None
        self.up: nn.Parameter | None = None
        if settings.rank:
            noise = torch.randn(settings.rank, backbone.d_model, generator=generator)
            self.down = nn.Parameter(noise * backbone.d_model**-0.5)
            self.up = nn.Parameter(torch.zeros(backbone.d_model, settings.rank))

    def forward(self) -> Injection:
        up = None if self.up is None else self.up * self.size
        return Injection(late=Late(self.layer, self.vectors * self.size, self.down, up))


@torch.no_grad()
def states_at(backbone: Any, layer: int, count: int, generator: torch.Generator) -> Tensor:
    """What `count` common tokens in a row have become before a layer: [P,d]."""
    table = backbone.embedding.weight.shape[0]
    drawn = torch.randint(
        first_word(table), min(COMMONEST, table), (1, count), generator=generator
    ).to(backbone.device)
    source = Source(drawn, torch.ones_like(drawn, dtype=torch.bool))
    found: Tensor = backbone.encode(source, span=Span(stop=layer))[0]
    return found.float().cpu()


class LateMethod(SlotMethod[LateSettings]):
    """`{soft:P}` at the front of the hard template."""

    settings = LateSettings
    families = ("t5", "roberta")

    def build(self, context: Context, settings: LateSettings) -> PromptModule:
        return with_head(context, late=LatePrompt(context, settings))


METHOD = LateMethod()
