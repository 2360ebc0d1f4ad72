"""What a soft prompt resembles: the vocabulary's tokens nearest to each of its vectors.

Lester et al. 2021, section 7 (interpretability): nearest neighbours by cosine. A vector far from
every token, or much longer than they are, says that the prompt uses no words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from codeprompt.backbones.base import Backbone
from codeprompt.pack.fit import check_backbone
from codeprompt.pack.packed import Pack


@dataclass(frozen=True)
class SoftVector:
    """One slot vector: its length, that of the vocabulary's median token, its nearest tokens.

    nearest: (token's text, cosine), nearest first.
    """

    slot: int
    norm: float
    median_norm: float
    nearest: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints for one vector."""
        return {
            "slot": self.slot,
            "norm": self.norm,
            "median_norm": self.median_norm,
            "nearest": [{"token": token, "cosine": cosine} for token, cosine in self.nearest],
        }


@torch.no_grad()
def nearest_tokens(pack: Pack, backbone: Backbone, k: int = 5) -> list[SoftVector]:
    """The k nearest tokens of every slot vector; empty where the prompt has none.

    Raises `PackError` where the pack was made for another backbone.
    """
    check_backbone(pack, backbone)
    if pack.injection.slots is None:
        return []
    tokenizer = backbone.tokenizer
    table = backbone.embedding.weight[: tokenizer.vocab_size].float()
    slots = pack.injection.slots.to(table)
    cosines, ids = (F.normalize(slots, dim=-1) @ F.normalize(table, dim=-1).T).topk(
        min(k, table.shape[0])
    )
    norms, median = slots.norm(dim=-1).tolist(), float(table.norm(dim=-1).median())
    rows = zip(norms, cosines.tolist(), ids.tolist(), strict=True)
    return [
        SoftVector(
            slot,
            norm,
            median,
            tuple(
                (tokenizer.decode([i], skip_special=False), c)
                for i, c in zip(near, cosine, strict=True)
            ),
        )
        for slot, (norm, cosine, near) in enumerate(rows)
    ]
