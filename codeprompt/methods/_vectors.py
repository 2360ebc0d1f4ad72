"""Vectors under dropout, as VPT learns them: at the input, or before every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from codeprompt.inject import Injection
from codeprompt.methods.base import Context, PromptModule


def spread(context: Context) -> float:
    """Half the width of VPT's uniform start, sqrt(6/(2d)), in units of the embedding's spread.

    A patch embedding has about unit variance; a word embedding's is its own.
    """
    d = context.backbone.d_model
    own = float(context.backbone.embedding.weight.detach().float().std())
    return own * math.sqrt(6 / (2 * d)) * math.sqrt(d)


class Vectors(PromptModule):
    """`slots` [P,d], and layer vectors [L,P,d] by stack, each under dropout."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        half: float,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.values = nn.ParameterDict(
            {
                name: nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * half)
                for name, shape in shapes.items()
            }
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self) -> Injection:
        found: dict[str, Tensor] = {name: self.dropout(v) for name, v in self.values.items()}
        return Injection(
            slots=found.pop("slots", None),
            layers=found,  # type: ignore[arg-type]
        )
