"""IA3: keys, values and the feed-forward's inner activations are scaled, element by element.

Liu et al. 2022 (Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
Learning), section 3.3: l_k * k, l_v * v and (l_ff * act(W_1 x)) W_2, in every attention and every
feed-forward; all vectors start at one, so that training starts at the frozen model. Shapes: l_k,
l_v [H*h], l_ff [d_ff]. As theirs, but for their recipe's extra losses (unlikelihood, length), which
belong to answer choices.
"""

from __future__ import annotations

import torch

from codeprompt.methods._deltas import Deltas, linears
from codeprompt.methods.base import Context, Method, NoSettings, PromptModule, with_head


class IA3(Method[NoSettings]):
    """Scalings as per-row data."""

    settings = NoSettings
    kind = "delta"

    def build(self, context: Context, settings: NoSettings) -> PromptModule:
        backbone, known = context.backbone, linears(context.backbone)
        scales = {
            name: {"scale": torch.ones(known[name].out_features)}
            for name in backbone.linear_maps("key", "value")
        }
        gains = {
            name: {"gain": torch.ones(known[name].in_features)}
            for name in backbone.linear_maps("feed-out")
        }
        return with_head(context, scales=Deltas(scales | gains))


METHOD = IA3()
