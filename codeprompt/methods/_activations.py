"""Real keys and values to start prompt columns from (Li & Liang 2021, section 7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice

import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone, SiteShape
from codeprompt.inject import Injection, Site


@torch.no_grad()
def activations(
    backbone: Backbone, text: str, length: int, shapes: Mapping[Site, SiteShape]
) -> dict[Site, Tensor]:
    """[P, 2*L*H*h] for each site: what every layer makes of the text's embeddings.

    The embeddings enter each layer unmixed (no attention runs), which costs nothing and keeps the
    values at the scale the layer's own keys and values have. A short text is repeated.
    """
    ids = backbone.tokenizer.encode(text) or [backbone.tokenizer.eos_id]
    rows = torch.tensor(list(islice(cycle(ids), length)), device=backbone.device)
    vectors = backbone.embedding(rows)
    out: dict[Site, Tensor] = {}
    for site, shape in shapes.items():
        pairs = [
            backbone.project_columns(site, layer, vectors, Injection())
            for layer in range(shape.layers)
        ]
        keys = torch.stack([k for k, _ in pairs])
        values = torch.stack([v for _, v in pairs])
        both = torch.stack([keys, values]).permute(3, 0, 1, 2, 4)
        out[site] = both.reshape(length, -1).float()
    return out
