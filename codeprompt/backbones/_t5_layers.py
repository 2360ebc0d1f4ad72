"""The layers of the T5 family, under the checkpoint's own names, and its configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.inject import Injected, Site, Stack

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


@dataclass(frozen=True)
class T5Config:
    """The switches of a T5 checkpoint's `config.json` that change its numbers."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    activation: str = "relu"
    gated: bool = False
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    scale_outputs: bool = True
    dropout_rate: float = 0.1
    decoder_start_token_id: int = 0
    n_positions: int = 512

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> T5Config:
        """Read a Hugging Face configuration."""
        kind = str(config.get("feed_forward_proj", "relu"))
        gated = kind.startswith("gated-")
        activation = kind.removeprefix("gated-")
        if kind == "gated-gelu":
            activation = "gelu_new"
        # n_positions is a habit of the family, not a table: 512 is what the checkpoints saw.
        known = {k: config[k] for k in T5Config.__dataclass_fields__ if config.get(k) is not None}
        known.setdefault("num_decoder_layers", config["num_layers"])
        # transformers 5 writes `scale_decoder_outputs` where others wrote `tie_word_embeddings`.
        scaled = config.get("scale_decoder_outputs")
        if scaled is None:
            scaled = config.get("tie_word_embeddings", True) is not False
        known.update(activation=activation, gated=gated, scale_outputs=bool(scaled))
        return T5Config(**known)


class RMSNorm(nn.Module):
    """T5's layer norm: no mean, no bias, variance in float32 or better."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Attention(nn.Module):
    """One attention; `name` is its path in the checkpoint, `site` where columns enter."""

    def __init__(self, config: T5Config, name: str, site: Site, layer: int, biased: bool) -> None:
        super().__init__()
        inner = config.num_heads * config.d_kv
        self.q = nn.Linear(config.d_model, inner, bias=False)
        self.k = nn.Linear(config.d_model, inner, bias=False)
        self.v = nn.Linear(config.d_model, inner, bias=False)
        self.o = nn.Linear(inner, config.d_model, bias=False)
        if biased:
            self.relative_attention_bias = nn.Embedding(
                config.relative_attention_num_buckets, config.num_heads
            )
        self.name, self.site, self.layer = name, site, layer
        self.heads, self.dropout = config.num_heads, config.dropout_rate

    def split(self, x: Tensor) -> Tensor:
        """[B,S,H*h] -> [B,H,S,h]."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def keys_values(self, x: Tensor, injected: Injected) -> tuple[Tensor, Tensor]:
        """x [B,S,d] -> k, v [B,H,S,h]."""
        k = injected.linear(f"{self.name}.k", self.k, x)
        v = injected.linear(f"{self.name}.v", self.v, x)
        return self.split(k), self.split(v)

    def forward(
        self,
        x: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        column_bias: Tensor | None,
        injected: Injected,
    ) -> Tensor:
        """x [B,Q,d] over k, v [B,H,S,h] -> [B,Q,d]."""
        q = self.split(injected.linear(f"{self.name}.q", self.q, x))
        out = injected.attend(
            self.site,
            self.layer,
            q,
            k,
            v,
            bias,
            scale=1.0,
            column_bias=column_bias,
            dropout=self.dropout if self.training else 0.0,
        )
        return injected.linear(f"{self.name}.o", self.o, out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """wo(act(wi x)), or wo(act(wi_0 x) * wi_1 x) where gated."""

    def __init__(self, config: T5Config, name: str) -> None:
        super().__init__()
        if config.gated:
            self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
            self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        else:
            self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.name, self.gated, self.dropout = name, config.gated, config.dropout_rate
        self.act: Callable[[Tensor], Tensor] = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        if self.gated:
            inner = self.act(injected.linear(f"{self.name}.wi_0", self.wi_0, x))
            inner = inner * injected.linear(f"{self.name}.wi_1", self.wi_1, x)
        else:
            inner = self.act(injected.linear(f"{self.name}.wi", self.wi, x))
        inner = F.dropout(inner, self.dropout, self.training)
        return injected.linear(f"{self.name}.wo", self.wo, inner)


class Sublayer(nn.Module):
    """Pre-norm and one of the three sublayers, under the checkpoint's own attribute name."""

    def __init__(self, config: T5Config, **inner: nn.Module) -> None:
        super().__init__()
        self.layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        for attribute, module in inner.items():
            self.add_module(attribute, module)


class Block(nn.Module):
    """One layer of a stack."""

    def __init__(self, config: T5Config, stack: Stack, layer: int) -> None:
        super().__init__()
        name = f"{stack}.block.{layer}.layer"
        own = Attention(config, f"{name}.0.SelfAttention", stack, layer, biased=layer == 0)
        sublayers = [Sublayer(config, SelfAttention=own)]
        if stack == "decoder":
            cross = Attention(config, f"{name}.1.EncDecAttention", "cross", layer, biased=False)
            sublayers.append(Sublayer(config, EncDecAttention=cross))
        last = f"{name}.{len(sublayers)}.DenseReluDense"
        sublayers.append(Sublayer(config, DenseReluDense=FeedForward(config, last)))
        self.layer: Any = nn.ModuleList(sublayers)


class T5Stack(nn.Module):
    """Encoder or decoder blocks with the final norm."""

    def __init__(self, config: T5Config, stack: Stack) -> None:
        super().__init__()
        count = config.num_layers if stack == "encoder" else config.num_decoder_layers
        self.block: Any = nn.ModuleList(Block(config, stack, layer) for layer in range(count))
        self.final_layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.bidirectional = stack == "encoder"
        self.buckets = config.relative_attention_num_buckets
        self.distance = config.relative_attention_max_distance

    def bias(self, relative: Tensor) -> Tensor:
        """Relative position bias: key minus query position [...] -> [..., H]."""
        table: Tensor = self.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        return table[bucket(relative, self.bidirectional, self.buckets, self.distance)]

    def column_bias(self, past: Tensor | None, query: Tensor, width: int) -> Tensor | None:
        """Bias over columns under the `past` convention: query positions [Q] -> [B,H,Q,P]."""
        if past is None:
            return None
        column = torch.arange(width, device=query.device)
        relative = column[None, None, :] - (past[:, None, None] + query[None, :, None])
        return self.bias(relative).permute(0, 3, 1, 2) * (past > 0)[:, None, None, None]


def bucket(relative: Tensor, bidirectional: bool, buckets: int, distance: int) -> Tensor:
    """T5's logarithmic buckets of relative positions (Raffel et al. 2020, section 2.1)."""
    offset = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        offset = (relative > 0).long() * buckets
        relative = relative.abs()
    else:
        relative = -relative.clamp(max=0)
    exact = buckets // 2
    far = torch.log(relative.float().clamp(min=1) / exact) / math.log(distance / exact)
    large = (exact + (far * (buckets - exact)).long()).clamp(max=buckets - 1)
    return offset + torch.where(relative < exact, relative, large)
