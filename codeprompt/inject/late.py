"""A prompt that enters an encoder late: made at layer m of what the row has become there.

Liu et al. 2022 (Late Prompt Tuning). The slots stand in the template from the start, so
that no position moves, but below layer m nothing sees them: as keys they are masked. At layer m
their hidden states are replaced, P(x) = vectors + up tanh(down pool(h)), where pool cuts the row's
real tokens h [n,d] (scaled to a mean square of one) into P stretches and takes the mean of each.
What lies below m then depends on no prompt, and can be kept between steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.errors import PackError

if TYPE_CHECKING:
    from codeprompt.inject.parts import Injection

EPSILON = 1e-6


@dataclass(frozen=True)
class Late:
    """layer: m, counted from 0, the first that sees the prompt. vectors: [P,d].

    down [r,d], up [d,r]: the generator; without one every row has the same vectors.
    """

    layer: int
    vectors: Tensor
    down: Tensor | None = None
    up: Tensor | None = None

    def made(self, hidden: Tensor, real: Tensor) -> Tensor:
        """The prompt of every row: states [B,T,d] at real tokens [B,T] -> [B,P,d]."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        start = self.vectors.to(wide).expand(hidden.shape[0], -1, -1)
        if self.down is None or self.up is None:
            return start
        normed = F.rms_norm(hidden.to(wide), hidden.shape[-1:], eps=EPSILON)
        pooled = stretches(real, start.shape[1]).to(wide) @ normed
        inner = torch.tanh(F.linear(pooled, self.down.to(wide)))
        return start + F.linear(inner, self.up.to(wide))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors, as a pack keeps them."""
        yield "late.layer", self.vectors.new_tensor([float(self.layer)])
        yield "late.vectors", self.vectors
        if self.down is not None and self.up is not None:
            yield "late.down", self.down
            yield "late.up", self.up


def stretches(real: Tensor, count: int) -> Tensor:
    """What takes the means of `count` stretches of every row's real tokens [B,T]: [B,P,T].

    Stretch i of n tokens is floor(i n/P) to ceil((i+1) n/P), as adaptive pooling has it; padding
    and slots are in none, so that a row's stretches never depend on its batch.
    """
    place, total = real.long().cumsum(1) - 1, real.sum(1)[:, None]
    i = torch.arange(count, device=real.device)
    first = (i * total).div(count, rounding_mode="floor")
    after = -(-(i + 1) * total).div(count, rounding_mode="floor")
    place = place[:, None, :]
    inside = (place >= first[..., None]) & (place < after[..., None]) & real[:, None, :]
    return inside / inside.sum(-1, keepdim=True).clamp(min=1)


def late_from(left: dict[str, Tensor]) -> Late | None:
    """The inverse of `Late.tensors`; what it takes leaves the table. Raises `PackError`."""
    found = {
        part: left.pop(f"late.{part}")
        for part in ("layer", "vectors", "down", "up")
        if f"late.{part}" in left
    }
    if not found:
        return None
    if not {"layer", "vectors"} <= set(found) or ("down" in found) != ("up" in found):
        raise PackError(
            f"The pack's late prompt has only {', '.join(found)}",
            expected="layer and vectors, and down and up or neither",
            do="Restore it or tune it again",
        )
    layer = int(found["layer"].flatten()[0])
    return Late(layer, found["vectors"], found.get("down"), found.get("up"))


@dataclass(frozen=True)
class LateRows:
    """The late prompts of a batch. index: each row's [B], -1 for none; None: all the first."""

    prompts: tuple[Late, ...]
    index: Tensor | None = None

    def select(self, index: Tensor) -> LateRows:
        """The late prompts of some rows: index [R]."""
        return self if self.index is None else replace(self, index=self.index[index.cpu()])

    def at(
        self,
        layer: int,
        x: Tensor,
        places: tuple[Tensor | None, Tensor],
        bias: tuple[Tensor | None, Tensor | None],
    ) -> tuple[Tensor, Tensor | None]:
        """What a layer reads: its input x [B,T,d] with the prompts that enter, and its bias.

        places: the source's slots and mask [B,T]. bias: over keys, the pass's own and the one of
        the layer before; [B|1,H|1,Q|1,T] or None for zero. What is hidden is hidden in its dtype.
        """
        slots, mask = places
        own, before = bias
        if slots is None:
            return x, own
        entering = [place for place, p in enumerate(self.prompts) if p.layer == layer]
        for place in entering:
            x = self._entered(place, x, slots, mask)
        if all(prompt.layer <= layer for prompt in self.prompts):
            return x, own
        if not entering and before is not own:
            return x, before
        hidden = self._hidden(layer, slots)
        return x, hidden.to(x.dtype) if own is None else own + hidden.to(own.dtype)

    def _entered(self, place: int, x: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
        """Hidden states with one prompt's vectors at the slots of its rows."""
        rows = torch.arange(x.shape[0], device=x.device)
        if self.index is not None:
            rows = (self.index == place).nonzero().flatten().to(x.device)
        old, soft = x[rows], slots[rows] >= 0
        made = self.prompts[place].made(old, mask[rows] & ~soft).to(x.dtype)
        index = slots[rows].clamp(min=0).unsqueeze(-1).expand(-1, -1, x.shape[-1])
        return x.index_copy(0, rows, torch.where(soft.unsqueeze(-1), made.gather(1, index), old))

    def _hidden(self, layer: int, slots: Tensor) -> Tensor:
        """-inf at the slots of rows whose prompt enters above this layer: [B,1,1,T]."""
        layers = torch.tensor([p.layer for p in self.prompts] + [-1])  # the last is of rows of none
        own = layers[:1] if self.index is None else layers[self.index]
        hide = (own > layer).to(slots.device)[:, None] & (slots >= 0)
        bias = torch.zeros(slots.shape, device=slots.device)
        return bias.masked_fill(hide, -math.inf)[:, None, None, :]


def late_rows(injections: Sequence[Injection], index: Tensor | None) -> LateRows | None:
    """The late prompts among a batch's; None where there is none."""
    prompts = tuple(i.late for i in injections if i.late is not None)
    if not prompts:
        return None
    if index is None:
        return LateRows(prompts)
    numbers = iter(range(len(prompts)))
    places = torch.tensor([-1 if i.late is None else next(numbers) for i in injections])
    return LateRows(prompts, places[index.cpu()])


def check_late(tensors: Mapping[str, Tensor], d: int, layers: int) -> None:
    """Every shape of a late prompt fits the backbone's d and its encoder. Raises `PackError`."""
    do = "Restore the pack from where it came from, or tune it again"
    layer = int(tensors["late.layer"].flatten()[0])
    if not 0 <= layer < layers:
        raise PackError(
            f"The pack's prompt enters at layer {layer}",
            expected=f"0 to {layers - 1}: the backbone's encoder has {layers} layers"
            if layers
            else "a backbone with an encoder",
            do=do,
        )
    rank = tensors["late.down"].shape[0] if "late.down" in tensors else 0
    shapes = {
        "layer": (1,),
        "vectors": (tensors["late.vectors"].shape[0], d),
        "down": (rank, d),
        "up": (d, rank),
    }
    for part, shape in shapes.items():
        tensor = tensors.get(f"late.{part}")
        if tensor is not None and tuple(tensor.shape) != shape:
            raise PackError(
                f"The pack's tensor 'late.{part}' has the shape {list(tensor.shape)}",
                expected=str(list(shape)),
                do=do,
            )
