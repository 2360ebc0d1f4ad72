"""The layers of a T5 serving pass: which of the backbone's maps stand together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from codeprompt.backbones.serving.linear import Linear, Maker
from codeprompt.inject import Stack


@dataclass(frozen=True)
class Attention:
    """One attention's maps: `first` gives q, k and v (at the cross site q alone)."""

    norm: Tensor
    first: Linear
    out: Linear


@dataclass(frozen=True)
class FeedForward:
    """wo(act(wi x)), or wo(act(wi_0 x) * wi_1 x) with wi_0 and wi_1 as one map."""

    norm: Tensor
    wide: Linear
    out: Linear


@dataclass(frozen=True)
class Layer:
    """One layer; `cross` is None in the encoder."""

    own: Attention
    cross: Attention | None
    feed: FeedForward


def make_layer(maker: Maker, stack: Stack, index: int, gated: bool) -> Layer:
    path, many = f"{stack}.block.{index}.layer", stack == "encoder"
    own = f"{path}.0.SelfAttention"
    attention = Attention(
        maker.tensor(f"{path}.0.layer_norm.weight"),
        maker.linear(*[f"{own}.{x}" for x in "qkv"], many=many),
        maker.linear(f"{own}.o", many=many),
    )
    cross = None
    if stack == "decoder":
        name = f"{path}.1.EncDecAttention"
        cross = Attention(
            maker.tensor(f"{path}.1.layer_norm.weight"),
            maker.linear(f"{name}.q"),
            maker.linear(f"{name}.o"),
        )
    last = f"{path}.{2 if stack == 'decoder' else 1}"
    wide = ("wi_0", "wi_1") if gated else ("wi",)
    feed = FeedForward(
        maker.tensor(f"{last}.layer_norm.weight"),
        maker.linear(*[f"{last}.DenseReluDense.{x}" for x in wide], many=many),
        maker.linear(f"{last}.DenseReluDense.wo", many=many),
    )
    return Layer(attention, cross, feed)


def maps_of(layers: Sequence[Layer]) -> Iterator[Linear]:
    """Every map that a decoder's step uses."""
    for layer in layers:
        for part in (layer.own, layer.cross):
            if part is not None:
                yield from (part.first, part.out)
        yield from (layer.feed.wide, layer.feed.out)
