"""APT: prompts as keys and values alone, in a branch with a softmax of its own.

Wu et al. 2023 (Approximated Prompt Tuning for Vision-Language Pre-trained Models): out = Attn(x) +
s * softmax(q K_p^T) V_p, with K_p and V_p of low rank [P,r] [r,H*h] in every layer: the attention
over real tokens keeps its mass, and the added cost is that of P keys. Facts from the paper; its
code was not read. We differ: s [L] is trained from one, and V_p starts at zero, so that training
starts at the frozen model exactly. The products are folded: a pack holds key, value [L,H,P,h] and
gate [L].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import SiteShape
from codeprompt.inject import Branch, Injection, Site
from codeprompt.methods.base import Context, Method, PromptModule, chosen_sites, with_head


@dataclass(frozen=True)
class AptSettings:
    """length: P. rank: r. sites: empty for all self-attention there is."""

    length: int = 16
    rank: int = 4
    sites: tuple[Site, ...] = field(default=())


class Branches(PromptModule):
    """Low-rank factors of keys and values, and a gate, for every site and layer."""

    def __init__(self, context: Context, settings: AptSettings) -> None:
        super().__init__()
        generator, r = context.generator(), settings.rank
        self.shapes = chosen_sites(context.backbone, settings.sites, ("encoder", "decoder"))
        self.factors = nn.ParameterDict()
        for site, shape in self.shapes.items():
            wide = shape.heads * shape.head_dim
            for part, scale in (("key", 1.0), ("value", 0.0)):
                low = torch.randn(shape.layers, settings.length, r, generator=generator)
                up = torch.randn(shape.layers, r, wide, generator=generator)
                self.factors[f"{site}-{part}-low"] = nn.Parameter(low * r**-0.5)
                self.factors[f"{site}-{part}-up"] = nn.Parameter(up * scale)
            self.factors[f"{site}-gate"] = nn.Parameter(torch.ones(shape.layers))

    def forward(self) -> Injection:
        return Injection(
            branches={
                site: Branch(
                    self._made(site, "key", shape),
                    self._made(site, "value", shape),
                    self.factors[f"{site}-gate"],
                )
                for site, shape in self.shapes.items()
            }
        )

    def _made(self, site: Site, part: str, shape: SiteShape) -> Tensor:
        """[L,P,r] [L,r,H*h] -> [L,H,P,h]."""
        flat = self.factors[f"{site}-{part}-low"] @ self.factors[f"{site}-{part}-up"]
        made: Tensor = flat.view(*flat.shape[:2], shape.heads, shape.head_dim).transpose(1, 2)
        return made


class Apt(Method[AptSettings]):
    """Parallel branches; the hard template stays as it is."""

    settings = AptSettings
    kind = "columns"

    def build(self, context: Context, settings: AptSettings) -> PromptModule:
        return with_head(context, branches=Branches(context, settings))


METHOD = Apt()
