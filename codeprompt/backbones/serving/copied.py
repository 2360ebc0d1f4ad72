"""What every serving copy takes over from its backbone as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone, SiteShape, Source
from codeprompt.backbones.serving.kernels import Precision, attention_dtypes
from codeprompt.backbones.serving.linear import Maker
from codeprompt.inject import Injected, Site, Stack

TOKENS = 512
"""Tokens of a source that pass all layers together: what they leave behind fits the cache."""


class Copied(Backbone):
    """Name, hash, sizes and tokenizer of a backbone.

    kind: the activations' dtype. many, few: see `attention_dtypes`. bytes: of all weights.
    """

    bytes: int

    def __init__(self, backbone: Backbone, maker: Maker) -> None:
        super().__init__()
        self.precision: Precision = maker.precision
        self.name, self.hash, self.d_model = backbone.name, backbone.hash, backbone.d_model
        self.max_length, self.start_id = backbone.max_length, backbone.start_id
        if hasattr(backbone, "tokenizer"):
            self.tokenizer = backbone.tokenizer
        self._sites, self._stacks = backbone.sites, backbone.stacks
        self._lora_targets = backbone.lora_targets
        self.kind = maker.dtype
        self.many, self.few = attention_dtypes(maker.precision, backbone.device)

    @property
    def sites(self) -> Mapping[Site, SiteShape]:
        return self._sites

    @property
    def stacks(self) -> Mapping[Stack, int]:
        return self._stacks

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return self._lora_targets

    @property
    def dtype(self) -> torch.dtype:
        return self.kind


def pieces(count: int, length: int, device: torch.device) -> list[Tensor]:
    """Rows of a source [B,T] that go together: on processors some at a time, all elsewhere.

    A layer of many rows would pass through memory, at every one of its operations.
    """
    together = max(1, TOKENS // length) if device.type == "cpu" else count
    return list(torch.arange(count, device=device).chunk(math.ceil(count / together)))


def piecewise(
    encode: Callable[[Source, Injected], Tensor], source: Source, injected: Injected
) -> Tensor:
    """What `encode` makes of rows, some at a time."""
    count, length = source.ids.shape
    some = pieces(count, length, source.ids.device)
    if len(some) == 1:
        return encode(source, injected)
    return torch.cat([encode(source.select(rows), injected.select(rows)) for rows in some])
