"""The serving pass of the Llama family: `Llama`'s answers from fused maps.

Queries, keys and values are one product, gate and up another; the pass and the caches are those of
`backbones/_causal.py`. Steps are not recorded (see `trace`): such a model's products are wide
enough that Python's share of a step is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones._causal import Causal
from codeprompt.backbones._t5_layers import ACTIVATIONS
from codeprompt.backbones.base import Family
from codeprompt.backbones.llama import Llama
from codeprompt.backbones.serving.copied import Copied
from codeprompt.backbones.serving.linear import Linear, Maker, size_of
from codeprompt.inject import NOTHING, Injected, Injection, Site, collate


@dataclass(frozen=True)
class Layer:
    """One layer: `first` gives queries, keys and values, `wide` gate and up."""

    before: Tensor
    first: Linear
    out: Linear
    between: Tensor
    wide: Linear
    narrow: Linear


class ServingLlama(Causal, Copied):
    """A decoder-only model ready to answer; made by `prepare`."""

    family: ClassVar[Family] = "llama"

    def __init__(self, backbone: Llama, maker: Maker) -> None:
        super().__init__(backbone, maker)
        config = self.config = backbone.config
        self.shape, self.turns, self.depth = backbone.shape, backbone.turns, backbone.depth
        self.act, self.epsilon = ACTIVATIONS[config.hidden_act], config.rms_norm_eps
        self.table = backbone.embedding
        self.layers = [_layer(maker, i) for i in range(self.depth)]
        self.final = maker.tensor("model.norm.weight")
        self.head = maker.linear("lm_head")
        self.bytes = maker.bytes + size_of(self.table.weight)

    @property
    def embedding(self) -> nn.Embedding:
        return self.table

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        rows = collate([Injection(deltas=injection.deltas)])
        return self.columns_of(layer, vectors.to(self.kind), rows)

    @property
    def kinds(self) -> tuple[torch.dtype | None, torch.dtype | None]:
        return self.many, self.few

    def look_up(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table.weight).to(self.kind)

    def maps(self, layer: int, x: Tensor, injected: Injected) -> list[Tensor]:
        own = self.layers[layer]
        heads, shared, size = self.shape
        found = own.first(self._norm(x, own.before), injected)
        return list(torch.split(found, [heads * size, shared * size, shared * size], -1))

    def after(self, layer: int, x: Tensor, attended: Tensor, injected: Injected) -> Tensor:
        own = self.layers[layer]
        x = x + own.out(attended, injected)
        gate, line = own.wide(self._norm(x, own.between), injected).chunk(2, -1)
        return x + own.narrow(self.act(gate) * line, injected)

    def finish(self, x: Tensor) -> Tensor:
        return self._norm(x, self.final)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [...,d] -> logits [...,V]."""
        return self.head(hidden, NOTHING)

    def token_loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Summed cross-entropy of `logits(hidden)`: hidden [N,d], tokens [N]."""
        return F.cross_entropy(self.logits(hidden).float(), tokens, reduction="sum")

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.rms_norm(x, (x.shape[-1],), weight, self.epsilon)


def _layer(maker: Maker, index: int) -> Layer:
    path = f"model.layers.{index}"
    return Layer(
        maker.tensor(f"{path}.input_layernorm.weight"),
        maker.linear(*[f"{path}.self_attn.{x}_proj" for x in "qkv"]),
        maker.linear(f"{path}.self_attn.o_proj"),
        maker.tensor(f"{path}.post_attention_layernorm.weight"),
        maker.linear(f"{path}.mlp.gate_proj", f"{path}.mlp.up_proj"),
        maker.linear(f"{path}.mlp.down_proj"),
    )
