"""LoRA: low-rank changes of the query and value maps, applied as per-row data.

Hu et al. 2022 (LoRA), section 4.1: W x + (alpha/r) B A x, A ~ N(0, 1/d), B = 0, so that training
starts at the frozen model. Defaults are OpenDelta's, r = 8 and alpha = 16 on q and v. The changes
ride in the Injection, so that rows with and without LoRA share a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from codeprompt.errors import UsageError
from codeprompt.inject import Delta, Injection
from codeprompt.methods.base import Context, Method, PromptModule, with_head


@dataclass(frozen=True)
class LoraSettings:
    """rank: r. alpha: scale. targets: last names of linear maps, empty for queries and values."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()


class Lora(PromptModule):
    """A [r,in] and B [out,r] for every target."""

    def __init__(self, context: Context, settings: LoraSettings) -> None:
        super().__init__()
        backbone, generator = context.backbone, context.generator()
        linears = {n: m for n, m in backbone.named_modules() if isinstance(m, nn.Linear)}
        names = backbone.lora_targets
        if settings.targets:
            names = tuple(n for n in linears if n.rpartition(".")[2] in settings.targets)
        if "lm_head" in names:
            raise UsageError(
                "LoRA does not change the output map 'lm_head': its rows share the embedding",
                do="Choose linear maps inside the layers",
            )
        if not names:
            ends = sorted({n.rpartition(".")[2] for n in linears})
            raise UsageError(
                f"No linear map of this backbone is called {' or '.join(settings.targets)}",
                expected=f"among {', '.join(ends)}",
            )
        self.names, self.scale = names, settings.alpha / settings.rank
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for name in names:
            rows, columns = linears[name].weight.shape
            noise = torch.randn(settings.rank, columns, generator=generator)
            self.down.append(nn.Parameter(noise * columns**-0.5))
            self.up.append(nn.Parameter(torch.zeros(rows, settings.rank)))

    def forward(self) -> Injection:
        return Injection(
            deltas={
                name: Delta(down, up * self.scale)
                for name, down, up in zip(self.names, self.down, self.up, strict=True)
            }
        )


class LoraMethod(Method[LoraSettings]):
    """Low-rank changes; the hard template stays as it is."""

    settings = LoraSettings
    kind = "delta"

    def build(self, context: Context, settings: LoraSettings) -> PromptModule:
        return with_head(context, lora=Lora(context, settings))


METHOD = LoraMethod()
