"""Adapter: a small two-layer network on the output of every sublayer.

Houlsby et al. 2019 (Parameter-Efficient Transfer Learning for NLP), section 2.1: y becomes
y + W_up act(W_down y + b) + b' on the output of attention and of the feed-forward, before the
residual; near-identity at the start. `places=feed` puts it behind the feed-forward alone (Pfeiffer
et al. 2021). The bottleneck of 24 is OpenDelta's. We differ: norms stay frozen; W_up starts at
zero, so that training starts at the frozen model exactly; cross-attention's output has one as well.
Shapes: W_down [m,d], b [m], W_up [d,m], b' [d] for each of the places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from codeprompt.methods._deltas import Deltas, linears
from codeprompt.methods.base import Context, Method, PromptModule, with_head


@dataclass(frozen=True)
class AdapterSettings:
    """bottleneck: m. places: behind `both` sublayers, or behind the `feed`-forward alone."""

    bottleneck: int = 24
    places: Literal["both", "feed"] = "both"

    def __post_init__(self) -> None:
        if self.bottleneck < 1:
            raise ValueError(f"a bottleneck of {self.bottleneck} passes nothing on")


class Adapter(Method[AdapterSettings]):
    """Bottlenecks as per-row data; the hard template stays as it is."""

    settings = AdapterSettings
    kind = "delta"

    def build(self, context: Context, settings: AdapterSettings) -> PromptModule:
        backbone, generator, m = context.backbone, context.generator(), settings.bottleneck
        names = backbone.linear_maps("feed-out")
        if settings.places == "both":
            names = backbone.linear_maps("attention-out", "feed-out")
        known = linears(backbone)
        adapters = {}
        for name in names:
            d = known[name].out_features
            adapters[name] = {
                "inner": torch.randn(m, d, generator=generator) * d**-0.5,
                "inner_bias": torch.zeros(m),
                "outer": torch.zeros(d, m),
                "outer_bias": torch.zeros(d),
            }
        return with_head(context, adapters=Deltas(adapters))


METHOD = Adapter()
"""Bottlenecks behind every sublayer."""
