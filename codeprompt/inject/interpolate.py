"""A prompt between the frozen model (alpha = 0) and what was tuned (alpha = 1).

Wortsman et al. 2022 (WiSE-FT), section 3: theta = (1 - alpha) theta_0 + alpha theta_1. What a
prompt adds has no theta_0 to average with, so each part takes a path that ends at the frozen model:

- columns and slots, gated and late ones too, get log(alpha) on their attention logits in every
  layer (shrinking keys and values would not do: zero keys still take softmax mass). At alpha = 0
  that is the same template with its slots masked: they keep their positions, and nothing reads
  them.
- changes of linear maps, branches and heads are scaled by alpha.
- weights are averaged with the backbone's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from codeprompt.errors import PackError
from codeprompt.inject.parts import Head, Injection


def interpolated(injection: Injection, alpha: float, own: Mapping[str, Tensor]) -> Injection:
    """The prompt at alpha in [0, 1]; lowered (no `layers`).

    own: the backbone's tensors by name, for packs that hold weights. Raises `PackError` where a
    part has no path to the frozen model.
    """
    if injection.layers:
        raise PackError("Layer vectors are interpolated as the columns they are: lower them first")
    if alpha == 1.0:
        return injection
    scale = math.log(alpha) if alpha > 0 else -math.inf
    slot_scale = injection.slot_scale
    if injection.length:
        like = next(iter(injection.tensors().values()))
        slot_scale = _shifted(slot_scale, scale, injection.length, like)
    head = injection.head
    known: dict[str, Any] = {
        "slot_scale": slot_scale,
        "columns": {
            site: replace(c, log_scale=_shifted(c.log_scale, scale, c.length, c.key))
            for site, c in injection.columns.items()
        },
        "branches": {s: replace(b, gate=b.gate * alpha) for s, b in injection.branches.items()},
        "deltas": {n: delta.scaled(alpha) for n, delta in injection.deltas.items()},
        "added": None if injection.added is None else alpha * injection.added,
        "head": None if head is None else Head(head.weight * alpha, head.bias * alpha),
        "weights": {n: torch.lerp(own[n].to(t), t, alpha) for n, t in injection.weights.items()},
    }
    for part in fields(injection):
        if part.name in ("slots", "gate", "late", "layers", *known):
            continue
        found = getattr(injection, part.name)
        if found:
            known[part.name] = {n: _scaled(part.name, one, alpha) for n, one in found.items()}
    return replace(injection, **known)


def _shifted(log_scale: Tensor | None, by: float, length: int, like: Tensor) -> Tensor:
    start = like.new_zeros(length) if log_scale is None else log_scale.expand(length)
    return start + by


def _scaled(name: str, part: Any, alpha: float) -> Any:
    if isinstance(part, Tensor):
        return part * alpha
    if not hasattr(part, "scaled"):
        raise PackError(
            f"The pack's {name} have no path to the frozen model",
            expected="columns, slots, changes of linear maps, branches, a head or weights",
        )
    return part.scaled(alpha)
