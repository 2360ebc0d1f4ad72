"""Changes of a backbone's maps, as data of the row: LoRA, biases, scalings, adapters.

A `Delta` belongs to one linear map y = W x, by the checkpoint's own module name. Its parts act in
this order, each absent or for every row its own:

    x' = gain * x                                    IA3 on the feed-forward's inner activations
    y  = W x' + up (down x')                         LoRA
    y  = scale * y                                   IA3 on keys and values
    y  = y + shift                                   BitFit
    y  = y + outer gelu(inner y + inner_bias) + outer_bias      adapter on a sublayer's output

At a norm's name a delta has a `shift` alone. An absent part is its neutral element, so that rows
with and without it share a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.errors import PackError


@dataclass(frozen=True)
class Delta:
    """A change of one map. In an `Injection`:

    down [r,in], up [out,r] with its scale; shift, scale [out]; gain [in]; inner [m,out],
    inner_bias [m], outer [out,m], outer_bias [out]. In an `Injected` each has a row dimension in
    front, of one where all rows share it.
    """

    down: Tensor | None = None
    up: Tensor | None = None
    shift: Tensor | None = None
    scale: Tensor | None = None
    gain: Tensor | None = None
    inner: Tensor | None = None
    inner_bias: Tensor | None = None
    outer: Tensor | None = None
    outer_bias: Tensor | None = None

    @property
    def parts(self) -> dict[str, Tensor]:
        """What there is, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def over(self, change: Callable[[Tensor], Tensor]) -> Delta:
        """The same parts, each changed."""
        return Delta(**{name: change(tensor) for name, tensor in self.parts.items()})

    def scaled(self, alpha: float) -> Delta:
        """Alpha between the frozen map (0) and the changed one (1): WiSE-FT.

        Sums are scaled, scalings interpolate from one; of several parts each by itself.
        """
        out = dict(self.parts)
        for name in ("up", "shift", "outer", "outer_bias"):
            if name in out:
                out[name] = alpha * out[name]
        for name in NEUTRAL:
            if name in out:
                out[name] = torch.lerp(torch.ones_like(out[name]), out[name], alpha)
        return Delta(**out)

    def fed(self, x: Tensor) -> Tensor:
        """What the map reads in place of x [B,Q,in]; of a delta of rows."""
        return x if self.gain is None else x * self.gain.to(x.dtype).unsqueeze(1)

    def changed(self, x: Tensor, y: Tensor) -> Tensor:
        """What the map gives in place of y [B,Q,out] for the input x it was fed; of rows."""
        if self.down is not None:
            y = y + self.low_rank(x)
        if self.scale is not None:
            y = y * self.scale.to(y.dtype).unsqueeze(1)
        if self.shift is not None:
            y = y + self.shift.to(y.dtype).unsqueeze(1)
        if self.inner is not None:
            y = y + self._adapted(y)
        return y

    def low_rank(self, x: Tensor) -> Tensor:
        """up (down x): [B,Q,in] -> [B,Q,out]."""
        assert self.down is not None and self.up is not None
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        return torch.matmul(torch.matmul(x, down.mT), up.mT)

    def _adapted(self, y: Tensor) -> Tensor:
        assert self.inner is not None and self.outer is not None
        wide = torch.matmul(y, self.inner.to(y.dtype).mT)
        if self.inner_bias is not None:
            wide = wide + self.inner_bias.to(y.dtype).unsqueeze(1)
        out = torch.matmul(F.gelu(wide, approximate="tanh"), self.outer.to(y.dtype).mT)
        if self.outer_bias is not None:
            out = out + self.outer_bias.to(y.dtype).unsqueeze(1)
        return out


PARTS = tuple(f.name for f in fields(Delta))
RANKS = {name: 2 if name in ("down", "up", "inner", "outer") else 1 for name in PARTS}
"""Dimensions of each part in a pack."""
NEUTRAL = {"scale": 1.0, "gain": 1.0}
"""What an absent part is filled with, where it is not zero."""
PADDED = {"down": 0, "up": 1, "inner": 0, "inner_bias": 0, "outer": 1}
"""The dimension in which prompts of one batch may differ in a part."""


def deltas_from(left: dict[str, Tensor]) -> dict[str, Delta]:
    """Deltas from a pack's flat names; what they take leaves the table. Raises `PackError`."""
    found: dict[str, dict[str, Tensor]] = {}
    for name in [n for n in left if n.startswith("deltas.")]:
        linear, _, part = name.removeprefix("deltas.").rpartition(".")
        if linear and part in PARTS:
            found.setdefault(linear, {})[part] = left.pop(name)
    for linear, parts in found.items():
        for one, other in (("down", "up"), ("up", "down"), ("inner", "outer"), ("outer", "inner")):
            if one in parts and other not in parts:
                raise PackError(
                    f"The pack lacks the tensor 'deltas.{linear}.{other}'",
                    do="Restore it or tune it again",
                )
    return {linear: Delta(**parts) for linear, parts in found.items()}


def join_deltas(a: Delta, b: Delta) -> Delta:
    """Two changes of one map in parallel: sums add up, scalings multiply."""
    mine, out = a.parts, dict(b.parts)
    for name, tensor in mine.items():
        if name not in out:
            out[name] = tensor
        elif name in PADDED:
            out[name] = torch.cat([tensor, out[name]], PADDED[name])
        elif name in NEUTRAL:
            out[name] = tensor * out[name]
        else:
            out[name] = tensor + out[name]
    if "inner_bias" in out and out["inner_bias"].shape[0] != out["inner"].shape[0]:
        out["inner_bias"] = torch.cat([_bias(a), _bias(b)])  # only one of the two had any
    return Delta(**out)


def _bias(delta: Delta) -> Tensor:
    assert delta.inner is not None
    if delta.inner_bias is not None:
        return delta.inner_bias
    return delta.inner.new_zeros(delta.inner.shape[0])


def collate_deltas(tables: Sequence[Mapping[str, Delta]], index: Tensor | None) -> dict[str, Delta]:
    """The deltas of a batch's prompts by map, one entry a row (of `index`) in front."""
    out: dict[str, Delta] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        found = [table[name].parts if name in table else {} for table in tables]
        parts = dict.fromkeys(part for one in found for part in one)
        out[name] = Delta(**{p: _rows([one.get(p) for one in found], p, index) for p in parts})
    return out


def _rows(tensors: Sequence[Tensor | None], part: str, index: Tensor | None) -> Tensor:
    like = next(t for t in tensors if t is not None)
    shape, fill = list(like.shape), NEUTRAL.get(part, 0.0)
    pad = PADDED.get(part)
    if pad is not None:
        shape[pad] = max(t.shape[pad] for t in tensors if t is not None)
    padded = []
    for tensor in tensors:
        if tensor is None:
            tensor = like.new_full(shape, fill)
        elif pad is not None and tensor.shape[pad] < shape[pad]:
            room = list(shape)
            room[pad] -= tensor.shape[pad]
            tensor = torch.cat([tensor, tensor.new_zeros(room)], pad)
        padded.append(tensor)
    stacked = torch.stack(padded)
    return stacked if index is None else stacked.index_select(0, index.to(stacked.device))
