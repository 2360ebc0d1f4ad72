"""Tuning the backbone's own weights: the controls that prompts are compared with."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from codeprompt.backbones.base import Backbone, Family
from codeprompt.inject import Injection
from codeprompt.methods.base import (
    Context,
    HeadKind,
    Method,
    MethodKind,
    Parts,
    PromptModule,
    S,
    with_head,
)


class Weights(PromptModule):
    """Every parameter of the backbone, unfrozen; its pack holds weights and says so."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        backbone.requires_grad_(True)

    def forward(self) -> Injection:
        return Injection()

    def export(self) -> Injection:
        weights: dict[str, Any] = {}
        seen: set[int] = set()
        for name, tensor in self.backbone.state_dict().items():
            if tensor.data_ptr() not in seen:  # a tied head is stored once
                seen.add(tensor.data_ptr())
                weights[name] = tensor.detach().clone()
        return Injection(weights=weights)


class Both(Parts):
    """Weights and other parts; exported each by its own rule."""

    def export(self) -> Injection:
        from codeprompt.inject import join

        out = Injection()
        for part in self.parts.values():
            assert isinstance(part, PromptModule)
            out = join(out, part.export())
        return out


class FullMethod(Method[S]):
    """What all methods that tune the weights declare."""

    kind: ClassVar[MethodKind] = "weights"
    frozen = False
    mixable = False

    def build_full(self, context: Context, slots: PromptModule | None = None) -> PromptModule:
        head = with_head(context) if context.head == "linear" else None
        parts = {"weights": Weights(context.backbone), "slots": slots, "head": head}
        return Both(**{name: part for name, part in parts.items() if part is not None})

    def head(self, family: Family) -> HeadKind:
        return "verbalizer"
