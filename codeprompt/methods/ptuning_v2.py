"""P-tuning v2: free prompt columns in every layer, with a verbalizer or a linear head.

Liu et al. 2022 (P-Tuning v2), section 3: Embedding[P, 2*L*H*h] without an MLP (theirs is optional
and helps some tasks only; `prefix` has one), dropout on the columns. On encoder-decoders columns
stand in both self-attentions. Initial values are real activations rather than N(0,1), for the
same reason as in `prefix`; `text=""` gives the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from codeprompt.backbones.base import Family
from codeprompt.inject import Injection
from codeprompt.methods._activations import activations
from codeprompt.methods.base import (
    ColumnSettings,
    Context,
    HeadKind,
    Method,
    PromptModule,
    chosen_sites,
    to_columns,
    with_head,
)


@dataclass(frozen=True)
class PTuningV2Settings(ColumnSettings):
    """text: whose activations the columns start from; empty for random ones."""

    text: str = "a short description of what this function does"


class FreeColumns(PromptModule):
    """One parameter [P, 2*L*H*h] for each site."""

    def __init__(self, context: Context, settings: PTuningV2Settings) -> None:
        super().__init__()
        self.shapes = chosen_sites(context.backbone, settings.sites, ("encoder", "decoder"))
        generator = context.generator()
        start = None
        if settings.text:
            start = activations(context.backbone, settings.text, settings.length, self.shapes)
        self.flat = nn.ParameterDict()
        for site, shape in self.shapes.items():
            width = 2 * shape.layers * shape.heads * shape.head_dim
            random = torch.randn(settings.length, width, generator=generator)
            self.flat[site] = nn.Parameter(random if start is None else start[site])
        self.dropout, self.convention = nn.Dropout(settings.dropout), settings.convention

    def forward(self) -> Injection:
        return Injection(
            columns={
                site: to_columns(self.dropout(self.flat[site]), shape, self.convention)
                for site, shape in self.shapes.items()
            }
        )


class PTuningV2(Method[PTuningV2Settings]):
    """Columns in every layer."""

    settings = PTuningV2Settings
    kind = "columns"

    def head(self, family: Family) -> HeadKind:
        return "linear" if family == "roberta" else "verbalizer"

    def build(self, context: Context, settings: PTuningV2Settings) -> PromptModule:
        return with_head(context, columns=FreeColumns(context, settings))


METHOD = PTuningV2()
