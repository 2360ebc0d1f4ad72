"""A backbone with other tensors in it: a copy of its own, another number format, tuned weights.

Structure is copied, tensors only where they differ; the tokenizer is shared and ties stay ties.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Backbone


def own_copy(backbone: Backbone, dtype: torch.dtype | None = None) -> Backbone:
    """A frozen backbone with tensors of its own, in another dtype if one is given."""
    return _remade(backbone, lambda p: p.to(dtype or p.dtype, copy=True))


def with_weights(backbone: Backbone, weights: Mapping[str, Tensor]) -> Backbone:
    """A frozen backbone that holds `weights` as they are, and shares all others.

    weights: by parameter name; one name is enough where a parameter stands at two places. Where any
    are given it is another model, without a hash: what is kept under the old one is not for it.
    """
    given: dict[int, Tensor] = {}
    for name, parameter in backbone.named_parameters(remove_duplicate=False):
        if name in weights:
            given.setdefault(id(parameter), weights[name])
    made = _remade(backbone, lambda p: given.get(id(p), p).to(p.device, p.dtype))
    if given:
        made.hash = ""
    return made


def _remade(backbone: Backbone, tensor: Callable[[nn.Parameter], Tensor]) -> Backbone:
    """The structure deep-copied around new parameters: `deepcopy` asks its memo first."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(tensor(p).detach(), requires_grad=False) for p in backbone.parameters()
    }
    memo[id(backbone.tokenizer)] = backbone.tokenizer
    made = copy.deepcopy(backbone, memo)
    made.freeze()
    return made
