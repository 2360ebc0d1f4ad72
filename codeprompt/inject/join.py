"""Two prompts as one, for methods made of several parts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from codeprompt.errors import PackError
from codeprompt.inject.parts import Columns, Injection, LowRank


def join(first: Injection, second: Injection) -> Injection:
    """Two prompts as one: columns stand side by side, changes of one linear map add up.

    Slot vectors belong to one template, so at most one of the two may have them.
    """
    if all(one.slots is not None or one.gate is not None for one in (first, second)):
        raise PackError(
            "Two prompts with soft slots cannot be joined: the template decides where slots stand",
            do="Tune one of them with a method that needs no slots",
        )
    columns = dict(first.columns)
    for site, more in second.columns.items():
        columns[site] = _join_columns(columns[site], more) if site in columns else more
    deltas = dict(first.deltas)
    for name, delta in second.deltas.items():
        if name in deltas:
            delta = LowRank(
                torch.cat([deltas[name].down, delta.down], 0),
                torch.cat([deltas[name].up, delta.up], 1),
            )
        deltas[name] = delta
    return replace(
        first,
        slots=first.slots if first.slots is not None else second.slots,
        columns=columns,
        layers={**first.layers, **second.layers},
        branches={**first.branches, **second.branches},
        deltas=deltas,
        head=first.head or second.head,
        weights={**first.weights, **second.weights},
        gate=first.gate or second.gate,
        slot_scale=first.slot_scale if first.slot_scale is not None else second.slot_scale,
    )


def _join_columns(a: Columns, b: Columns) -> Columns:
    def scale(c: Columns) -> Tensor:
        if c.log_scale is None:
            return c.key.new_zeros(c.length)
        return c.log_scale.expand(c.length)

    both = None
    if a.log_scale is not None or b.log_scale is not None:
        both = torch.cat([scale(a), scale(b)])
    return Columns(
        torch.cat([a.key, b.key], 2), torch.cat([a.value, b.value], 2), both, a.convention
    )
