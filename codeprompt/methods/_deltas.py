"""Trained changes of maps by name: what delta tuning's methods share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from codeprompt.inject import Delta, Injection
from codeprompt.methods.base import PromptModule


class Deltas(PromptModule):
    """Parameters by (map, part of its `Delta`), in the order given."""

    def __init__(self, initial: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.names = [(name, part) for name, parts in initial.items() for part in parts]
        self.values = nn.ParameterList(
            nn.Parameter(tensor.float()) for parts in initial.values() for tensor in parts.values()
        )

    def forward(self) -> Injection:
        parts: dict[str, dict[str, Tensor]] = {}
        for (name, part), tensor in zip(self.names, self.values, strict=True):
            parts.setdefault(name, {})[part] = tensor
        return Injection(deltas={name: Delta(**found) for name, found in parts.items()})


def linears(module: nn.Module) -> dict[str, nn.Linear]:
    """Linear maps by name."""
    return {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
