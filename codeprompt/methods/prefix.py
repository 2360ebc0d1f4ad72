"""Prefix-tuning: prompt columns in encoder, decoder and cross attention, written by an MLP.

Li & Liang 2021 (Prefix-Tuning), sections 4.2-4.3: Embedding[P,d] -> Linear(d,mid) -> Tanh ->
Linear(mid, 2*L*H*h), one set for each site; the MLP is dropped after training. Initial keys and
values are real activations of a text (their section 7.4), to which the last layer's bias is set:
the untrained prefix is then something the backbone has seen, and not noise. Columns move no
positions (see `inject`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from codeprompt.inject import Injection, Site
from codeprompt.methods._activations import activations
from codeprompt.methods.base import (
    ColumnSettings,
    Context,
    Method,
    PromptModule,
    chosen_sites,
    to_columns,
    with_head,
)


@dataclass(frozen=True)
class PrefixSettings(ColumnSettings):
    """mid: width of the MLP. text: whose activations the prefix starts from."""

    sites: tuple[Site, ...] = field(default=("encoder", "decoder", "cross"))
    mid: int = 128
    text: str = "a short description of what this function does"


class Reparametrised(PromptModule):
    """Columns of every chosen site by MLPs over an embedding that starts near zero."""

    def __init__(self, context: Context, settings: PrefixSettings) -> None:
        super().__init__()
        backbone, generator = context.backbone, context.generator()
        wanted = tuple(s for s in settings.sites if s in backbone.sites)
        self.shapes = chosen_sites(backbone, wanted, wanted)
        size = backbone.d_model
        self.embedding = nn.ParameterDict()
        self.inner, self.outer = nn.ModuleDict(), nn.ModuleDict()
        start = activations(backbone, settings.text, settings.length, self.shapes)
        self.start = nn.ParameterDict()
        for site, shape in self.shapes.items():
            self.embedding[site] = nn.Parameter(
                torch.randn(settings.length, size, generator=generator)
            )
            self.inner[site] = _linear(size, settings.mid, generator)
            width = 2 * shape.layers * shape.heads * shape.head_dim
            self.outer[site] = _linear(settings.mid, width, generator, scale=0.1)
            self.start[site] = nn.Parameter(start[site], requires_grad=False)
        self.dropout, self.convention = nn.Dropout(settings.dropout), settings.convention

    def forward(self) -> Injection:
        return Injection(
            columns={
                site: to_columns(self._flat(site), shape, self.convention)
                for site, shape in self.shapes.items()
            }
        )

    def _flat(self, site: Site) -> Tensor:
        moved: Tensor = self.outer[site](torch.tanh(self.inner[site](self.embedding[site])))
        out: Tensor = self.start[site] + self.dropout(moved)
        return out


def _linear(inputs: int, outputs: int, generator: torch.Generator, scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) * scale * inputs**-0.5)
        layer.bias.zero_()
    return layer


class Prefix(Method[PrefixSettings]):
    """Three independent sets of columns on encoder-decoders, one on encoders."""

    settings = PrefixSettings
    kind = "columns"

    def build(self, context: Context, settings: PrefixSettings) -> PromptModule:
        return with_head(context, prefix=Reparametrised(context, settings))


METHOD = Prefix()
