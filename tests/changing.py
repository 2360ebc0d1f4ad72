"""Changes of maps for tests: each kind where its method puts it."""

from __future__ import annotations

import torch

from codeprompt.backbones.base import Backbone
from codeprompt.inject import Delta


def every_delta(backbone: Backbone) -> dict[str, Delta]:
    """Scalings of keys and values; gains, shifts and adapters at sublayers' outputs; norms."""
    modules = dict(backbone.named_modules())

    def size(name: str) -> tuple[int, int]:
        return modules[name].out_features, modules[name].in_features  # type: ignore[return-value]

    scaled = backbone.linear_maps("key", "value")
    outputs = backbone.linear_maps("attention-out", "feed-out")
    gained = backbone.linear_maps("feed-out")
    adapters = {
        name: Delta(
            gain=torch.randn(size(name)[1]) if name in gained else None,
            shift=torch.randn(size(name)[0]),
            inner=torch.randn(3, size(name)[0]),
            inner_bias=torch.randn(3),
            outer=0.3 * torch.randn(size(name)[0], 3),
            outer_bias=torch.randn(size(name)[0]),
        )
        for name in outputs
    }
    return {
        **{name: Delta(scale=torch.randn(size(name)[0])) for name in scaled},
        **adapters,
        **{name: Delta(shift=torch.randn(backbone.d_model)) for name in backbone.shifted_norms},
    }
