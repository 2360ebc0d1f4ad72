"""The injections of a batch's rows, side by side: what every layer of a backbone reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from codeprompt.inject.attention import attention
from codeprompt.inject.delta import Delta, collate_deltas
from codeprompt.inject.gate import GateRows, gate_rows, start
from codeprompt.inject.late import LateRows, late_rows
from codeprompt.inject.parts import SITES, Branch, Columns, Injection, Site


@dataclass(frozen=True)
class SiteRows:
    """One site's columns by row: key, value [L,B,H,P,h]; bias [B,P]; past [B] or None."""

    key: Tensor
    value: Tensor
    bias: Tensor
    past: Tensor | None


@dataclass(frozen=True)
class BranchRows:
    """The branches of one site for every row: key, value [L,B,H,P,h]; bias [B,P]; gate [L,B]."""

    key: Tensor
    value: Tensor
    bias: Tensor
    gate: Tensor


@dataclass(frozen=True)
class Injected:
    """The injections of a batch's rows, side by side; what a backbone's pass reads.

    slots: [B,P,d] or None. deltas: as in `Delta`, rows in front (one where all share it).
    added: [B,S,d] or None.
    slot_bias: [B,P], added to the slots' attention logits as keys; None for zero.
    """

    slots: Tensor | None = None
    sites: Mapping[Site, SiteRows] = field(default_factory=dict)
    branches: Mapping[Site, BranchRows] = field(default_factory=dict)
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    gates: GateRows | None = None
    slot_bias: Tensor | None = None
    added: Tensor | None = None
    late: LateRows | None = None

    def embed(self, vectors: Tensor, slots: Tensor | None, mask: Tensor) -> Tensor:
        """Put slot vectors at soft positions: vectors [B,T,d], slots [B,T] (-1 = real token).

        mask: [B,T], False at padding; gates look at real tokens alone.
        """
        if self.added is not None:
            vectors = vectors + self._added(vectors, mask if slots is None else mask & (slots < 0))
        if slots is None or self.slots is None:
            return vectors
        index = slots.clamp(min=0).unsqueeze(-1).expand(-1, -1, vectors.shape[-1])
        own = self.slots
        if self.gates is not None:
            own = self.gates.added(own, vectors, mask & (slots < 0))
        soft = own.to(vectors.dtype).expand(vectors.shape[0], -1, -1).gather(1, index)
        return torch.where((slots >= 0).unsqueeze(-1), soft, vectors)

    def keys(self, slots: Tensor | None, pad: Tensor | None) -> Tensor | None:
        """What is added to the logits of source positions as keys: [B,1,1,T], None for nothing.

        slots: [B,T], as `embed` takes them; pad: [B,1,1,T], -inf at padding.
        """
        if self.slot_bias is None or slots is None:
            return pad
        own = self.slot_bias.expand(slots.shape[0], -1).gather(1, slots.clamp(min=0))
        own = own.masked_fill(slots < 0, 0.0)[:, None, None, :]
        return own if pad is None else own + pad

    def _added(self, vectors: Tensor, real: Tensor) -> Tensor:
        """What `added` gives each position: its n-th row to the n-th real token [B,T,d]."""
        assert self.added is not None
        place, size = real.long().cumsum(1) - 1, self.added.shape[1]
        table = self.added.to(vectors.dtype).expand(vectors.shape[0], -1, -1)
        index = place.clamp(0, size - 1).unsqueeze(-1).expand(-1, -1, vectors.shape[-1])
        return table.gather(1, index) * (real & (place < size)).unsqueeze(-1)

    def linear(self, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        """`layer(x)` with the rows' changes of that linear map; x [B,Q,in]."""
        delta = self.deltas.get(name)
        if delta is None:
            plain: Tensor = layer(x)
            return plain
        x = delta.fed(x)
        return delta.changed(x, layer(x))

    def shifted(self, name: str, y: Tensor) -> Tensor:
        """A norm's output [B,Q,d] with the rows' change of its bias."""
        delta = self.deltas.get(name)
        return y if delta is None else delta.changed(y, y)

    def select(self, index: Tensor) -> Injected:
        """The prompts of some rows: index [R]; a prompt that all rows share stays as it is."""

        def pick(tensor: Tensor, batch: int = 0) -> Tensor:
            return tensor if tensor.shape[batch] == 1 else tensor.index_select(batch, index)

        return Injected(
            None if self.slots is None else pick(self.slots),
            {
                site: SiteRows(
                    pick(rows.key, 1),
                    pick(rows.value, 1),
                    pick(rows.bias),
                    None if rows.past is None else pick(rows.past),
                )
                for site, rows in self.sites.items()
            },
            {
                site: BranchRows(
                    pick(rows.key, 1), pick(rows.value, 1), pick(rows.bias), pick(rows.gate, 1)
                )
                for site, rows in self.branches.items()
            },
            {name: delta.over(pick) for name, delta in self.deltas.items()},
            None if self.gates is None else self.gates.select(index),
            None if self.slot_bias is None else pick(self.slot_bias),
            None if self.added is None else pick(self.added),
            None if self.late is None else self.late.select(index),
        )

    def past(self, site: Site) -> Tensor | None:
        """How far real tokens stand after the columns, by row [B]; None where nowhere."""
        rows = self.sites.get(site)
        return None if rows is None else rows.past

    def attend(
        self,
        site: Site,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        *,
        scale: float,
        column_bias: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attention over prompt columns and real tokens, plus the parallel branch.

        q [B,H,Q,h]; k, v [B,H,S,h]; bias [B|1,H|1,Q|1,S] added to the logits; column_bias
        [B,H,Q,P] is what a position convention adds over the columns. Returns [B,H,Q,h].
        """
        rows = self.sites.get(site)
        q_all, k_all, v_all, bias_all = q, k, v, bias
        if rows is not None:
            k_all = torch.cat([_rows(rows.key[layer], k), k], 2)
            v_all = torch.cat([_rows(rows.value[layer], v), v], 2)
            over = rows.bias.to(q.dtype)[:, None, None, :]
            if column_bias is not None:
                over = over + column_bias
            real = bias if bias is not None else q.new_zeros(1, 1, 1, k.shape[2])
            shape = [max(a, b) for a, b in zip(over.shape[:3], real.shape[:3], strict=True)]
            bias_all = torch.cat([over.expand(*shape, -1), real.to(q.dtype).expand(*shape, -1)], -1)
        out = attention(q_all, k_all, v_all, bias_all, scale=scale, dropout=dropout)
        branch = self.branches.get(site)
        if branch is not None:
            own = attention(
                q,
                _rows(branch.key[layer], q),
                _rows(branch.value[layer], q),
                branch.bias.to(q.dtype)[:, None, None, :],
                scale=scale,
            )
            out = out + branch.gate[layer].to(q.dtype)[:, None, None, None] * own
        return out


NOTHING = Injected()


def _rows(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.to(like.dtype).expand(like.shape[0], -1, -1, -1)


def collate(injections: Sequence[Injection], rows: Sequence[int] | None = None) -> Injected:
    """Put prompts side by side for a batch.

    injections: the distinct prompts, already lowered (no `layers`, no `weights`).
    rows: for each row of the batch the index of its prompt; None where the batch has one prompt
        for all rows (nothing is copied then, and gradients reach it summed over rows).
    """
    if rows is not None and len(injections) == 1:
        rows = None
    index = None if rows is None else torch.as_tensor(list(rows), dtype=torch.long)
    slots = None
    starts = [start(i) for i in injections]
    if any(vectors is not None for vectors in starts):
        slots = _stack(starts, 0, index, 0)
    sites: dict[Site, SiteRows] = {}
    branches: dict[Site, BranchRows] = {}
    for site in SITES:
        columns = [i.columns.get(site) for i in injections]
        if any(c is not None for c in columns):
            sites[site] = _site_rows(columns, index)
        parallel = [i.branches.get(site) for i in injections]
        if any(b is not None for b in parallel):
            branches[site] = _branch_rows(parallel, index)
    deltas = collate_deltas([i.deltas for i in injections], index)
    slot_bias = added = None
    if any(i.slot_scale is not None for i in injections):
        scales = [i.slot_scale for i in injections]
        slot_bias = _stack([None if s is None else s.float() for s in scales], 0, index, 0)
        missing = 0 if slots is None else slots.shape[1] - slot_bias.shape[1]
        slot_bias = nn.functional.pad(slot_bias, (0, missing))
    if any(i.added is not None for i in injections):
        added = _stack([i.added for i in injections], 0, index, 0)
    gates, late = gate_rows(injections, index), late_rows(injections, index)
    return Injected(slots, sites, branches, deltas, gates, slot_bias, added, late)


def _stack(tensors: Sequence[Tensor | None], pad: int, index: Tensor | None, batch: int) -> Tensor:
    """Stack along a new dimension `batch`, zero-padded in dimension `pad`, then one entry a row."""
    like = next(t for t in tensors if t is not None)
    length = max(t.shape[pad] for t in tensors if t is not None)
    padded = []
    for tensor in tensors:
        if tensor is None:
            shape = list(like.shape)
            shape[pad] = length
            tensor = like.new_zeros(shape)
        elif tensor.shape[pad] < length:
            shape = list(tensor.shape)
            shape[pad] = length - tensor.shape[pad]
            tensor = torch.cat([tensor, tensor.new_zeros(shape)], pad)
        padded.append(tensor)
    stacked = torch.stack(padded, batch)
    return stacked if index is None else stacked.index_select(batch, index.to(stacked.device))


def _bias(lengths: Sequence[int], scales: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """[U,P]: log-scale on a prompt's own columns, -inf on padding."""
    bias = like.new_full((len(lengths), max(lengths)), -math.inf, dtype=torch.float32)
    for row, (length, scale) in enumerate(zip(lengths, scales, strict=True)):
        bias[row, :length] = 0.0 if scale is None else scale.float().expand(length)
    return bias


def _site_rows(columns: Sequence[Columns | None], index: Tensor | None) -> SiteRows:
    like = next(c for c in columns if c is not None).key
    lengths = [0 if c is None else c.length for c in columns]
    bias = _bias(lengths, [None if c is None else c.log_scale for c in columns], like)
    past = torch.tensor(
        [c.length if c is not None and c.convention == "past" else 0 for c in columns],
        device=like.device,
    )
    if index is not None:
        bias, past = bias[index], past[index]
    return SiteRows(
        _stack([None if c is None else c.key for c in columns], 2, index, 1),
        _stack([None if c is None else c.value for c in columns], 2, index, 1),
        bias,
        past if bool(past.any()) else None,
    )


def _branch_rows(branches: Sequence[Branch | None], index: Tensor | None) -> BranchRows:
    like = next(b for b in branches if b is not None).key
    lengths = [0 if b is None else b.key.shape[2] for b in branches]
    bias = _bias(lengths, [None] * len(branches), like)
    for row, length in enumerate(lengths):
        if length == 0:  # a row without a branch: any finite softmax will do, its gate is zero
            bias[row] = 0.0
    if index is not None:
        bias = bias[index]
    return BranchRows(
        _stack([None if b is None else b.key for b in branches], 2, index, 1),
        _stack([None if b is None else b.value for b in branches], 2, index, 1),
        bias,
        _stack([None if b is None else b.gate for b in branches], 0, index, 1),
    )
