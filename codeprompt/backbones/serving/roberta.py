"""The serving pass of the RoBERTa family: `Roberta`'s answers from fused maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones.base import Family, Source
from codeprompt.backbones.roberta import Roberta
from codeprompt.backbones.serving.copied import Copied, piecewise
from codeprompt.backbones.serving.linear import Linear, Maker, size_of
from codeprompt.backbones.t5 import ACTIVATIONS
from codeprompt.errors import BackboneError
from codeprompt.inject import NOTHING, Injected, Injection, Site, collate


@dataclass(frozen=True)
class Norm:
    """A LayerNorm's weight and bias [d], changed by its name."""

    weight: Tensor
    bias: Tensor
    name: str

    def __call__(self, x: Tensor, epsilon: float, injected: Injected) -> Tensor:
        normed = F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, epsilon)
        return injected.shifted(self.name, normed)


@dataclass(frozen=True)
class Layer:
    """One layer: `first` gives q, k and v; a norm follows each of the two residuals."""

    first: Linear
    out: Linear
    after: Norm
    wide: Linear
    narrow: Linear
    last: Norm


class ServingRoberta(Copied):
    """A RoBERTa ready to answer; made by `prepare`."""

    family: ClassVar[Family] = "roberta"

    def __init__(self, backbone: Roberta, maker: Maker) -> None:
        super().__init__(backbone, maker)
        config = self.config = backbone.config
        self.heads, self.epsilon = config.num_attention_heads, config.layer_norm_eps
        self.scale = (config.hidden_size // config.num_attention_heads) ** -0.5
        self.act = ACTIVATIONS[config.hidden_act]
        # The embeddings stay as they are: they are read a few rows at a time.
        self.embeddings = backbone.roberta.embeddings
        self.layers = [_layer(maker, i) for i in range(config.num_hidden_layers)]
        self.has_mask_head = backbone.has_mask_head
        if self.has_mask_head:
            self.mask_map = maker.linear("lm_head.dense")
            self.mask_norm = _norm(maker, "lm_head.layer_norm")
            self.mask_head = maker.linear("lm_head.decoder")
        self.bytes = maker.bytes + sum(map(size_of, self.embeddings.parameters()))

    @property
    def embedding(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        rows = collate([Injection(deltas=injection.deltas)])
        _, k, v = self._split(self.layers[layer].first(vectors.to(self.kind)[None], rows))
        return k[0], v[0]

    def encode(self, source: Source, injected: Injected = NOTHING) -> Tensor:
        """ids [B,T] with slots -> hidden states [B,T,d], padding included.

        Raises `BackboneError` where a row is longer than the position table.
        """
        return piecewise(self._encode, source, injected)

    def _encode(self, source: Source, injected: Injected) -> Tensor:
        x: Tensor = self.embeddings(source, injected).to(self.kind)
        pad = injected.keys(source.slots, source.pad_bias)
        own = bias = None if pad is None else pad.to(self.many)
        for index, layer in enumerate(self.layers):
            if injected.late is not None:
                x, masked = injected.late.at(index, x, (source.slots, source.mask), (own, bias))
                bias = None if masked is None else masked.to(self.many)
            q, k, v = self._split(layer.first(x, injected)).to(self.many)
            out = injected.attend("encoder", index, q, k, v, bias, scale=self.scale)
            mapped = layer.out(out.transpose(1, 2).flatten(2).to(self.kind), injected)
            x = layer.after(mapped + x, self.epsilon, injected)
            wide = self.act(layer.wide(x, injected))
            x = layer.last(layer.narrow(wide, injected) + x, self.epsilon, injected)
        return x

    def mask_logits(
        self, hidden: Tensor, positions: Tensor, injected: Injected = NOTHING
    ) -> Tensor:
        """The cloze head at some positions: hidden [B,T,d], positions [B,M] -> logits [B,M,V].

        Raises `BackboneError` where the checkpoint has no such head.
        """
        if not self.has_mask_head:
            raise BackboneError(
                f"A cloze on a checkpoint without a mask head: {self.name or 'this backbone'} "
                "has no lm_head",
                expected="a checkpoint trained with masked language modelling",
                do="Use --head linear, or a backbone with the head, such as "
                "microsoft/codebert-base-mlm",
            )
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        x = F.gelu(self.mask_map(hidden.gather(1, index), injected))
        return self.mask_head(self.mask_norm(x, self.epsilon, injected), injected)

    def _split(self, x: Tensor) -> Tensor:
        """[B,S,3*H*h] -> [3,B,H,S,h]."""
        return x.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)


def _layer(maker: Maker, index: int) -> Layer:
    path = f"roberta.encoder.layer.{index}"
    own = f"{path}.attention.self"
    return Layer(
        maker.linear(*[f"{own}.{x}" for x in ("query", "key", "value")], many=True),
        maker.linear(f"{path}.attention.output.dense", many=True),
        _norm(maker, f"{path}.attention.output.LayerNorm"),
        maker.linear(f"{path}.intermediate.dense", many=True),
        maker.linear(f"{path}.output.dense", many=True),
        _norm(maker, f"{path}.output.LayerNorm"),
    )


def _norm(maker: Maker, path: str) -> Norm:
    return Norm(maker.tensor(f"{path}.weight"), maker.tensor(f"{path}.bias"), path)
