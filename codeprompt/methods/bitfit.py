"""BitFit: the biases alone are tuned, as shifts on top of the frozen ones.

Ben Zaken et al. 2022 (BitFit), section 3: every bias of the linear maps and of the norms. A shift
[out] starts at zero, so that training starts at the frozen model. We differ: T5 and Llama shapes
have no (or few) biases, so their linear maps get new ones, and their norms none; embeddings and the
output map have no shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from codeprompt.methods._deltas import Deltas, linears
from codeprompt.methods.base import Context, Method, PromptModule, with_head


@dataclass(frozen=True)
class BitFitSettings:
    """norms: whether norms that have a bias are shifted too."""

    norms: bool = True


class BitFit(Method[BitFitSettings]):
    """Shifts as per-row data."""

    settings = BitFitSettings
    kind = "delta"

    def build(self, context: Context, settings: BitFitSettings) -> PromptModule:
        backbone, known = context.backbone, linears(context.backbone)
        names = backbone.linear_maps(
            "query", "key", "value", "attention-out", "feed-in", "feed-out"
        )
        sizes = {name: known[name].out_features for name in names}
        if settings.norms:
            sizes |= dict.fromkeys(backbone.shifted_norms, backbone.d_model)
        return with_head(
            context, shifts=Deltas({n: {"shift": torch.zeros(size)} for n, size in sizes.items()})
        )


METHOD = BitFit()
