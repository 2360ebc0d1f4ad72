"""Two prompts as one, for methods made of several parts."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.errors import PackError
from codeprompt.inject.delta import join_deltas
from codeprompt.inject.parts import Columns, Injection


def join(first: Injection, second: Injection) -> Injection:
    """Two prompts as one: columns and layer vectors stand side by side, changes of a map add up.

    Slot vectors belong to one template, so at most one of the two may have them.
    """
    if first.length and second.length:
        raise PackError(
            "Two prompts with soft slots cannot be joined: the template decides where slots stand",
            do="Tune one of them with a method that needs no slots",
        )
    columns = dict(first.columns)
    for site, more in second.columns.items():
        columns[site] = _join_columns(columns[site], more) if site in columns else more
    layers = dict(first.layers)
    for stack, vectors in second.layers.items():
        layers[stack] = torch.cat([layers[stack], vectors], 1) if stack in layers else vectors
    if shared := set(first.branches) & set(second.branches):
        raise PackError(
            f"Two prompts with a parallel branch at '{min(shared)}' cannot be joined: each has a "
            "softmax of its own",
            do="Tune one of them with another method",
        )
    deltas = dict(first.deltas)
    for name, delta in second.deltas.items():
        deltas[name] = join_deltas(deltas[name], delta) if name in deltas else delta
    return replace(
        first,
        slots=first.slots if first.slots is not None else second.slots,
        columns=columns,
        layers=layers,
        branches={**first.branches, **second.branches},
        deltas=deltas,
        head=first.head or second.head,
        weights={**first.weights, **second.weights},
        gate=first.gate or second.gate,
        slot_scale=first.slot_scale if first.slot_scale is not None else second.slot_scale,
        added=_sum(first.added, second.added),
        late=first.late or second.late,
    )


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """[S,d] tables of unlike S, added up."""
    if a is None or b is None:
        return b if a is None else a
    longer, shorter = (a, b) if a.shape[0] >= b.shape[0] else (b, a)
    return longer + F.pad(shorter, (0, 0, 0, longer.shape[0] - shorter.shape[0]))


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
