"""The parts that a prompt may add to a backbone, and their flat names in a pack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from codeprompt.errors import PackError
from codeprompt.inject.delta import Delta, deltas_from
from codeprompt.inject.gate import Gate, gate_from
from codeprompt.inject.late import Late, late_from

Site = Literal["encoder", "decoder", "cross"]
Stack = Literal["encoder", "decoder"]
Convention = Literal["kept", "past"]
SITES: tuple[Site, ...] = ("encoder", "decoder", "cross")


@dataclass(frozen=True)
class Columns:
    """Prompt columns of one site: key, value [L,H,P,h]; log_scale [P] or None for zero."""

    key: Tensor
    value: Tensor
    log_scale: Tensor | None = None
    convention: Convention = "kept"

    @property
    def length(self) -> int:
        return self.key.shape[2]


@dataclass(frozen=True)
class Branch:
    """A parallel branch with its own softmax (APT): key, value [L,H,P,h]; gate [L]."""

    key: Tensor
    value: Tensor
    gate: Tensor


@dataclass(frozen=True)
class Head:
    """A linear classifier on one hidden state: weight [C,d], bias [C]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Injection:
    """All that one prompt adds to a backbone.

    slots: vectors [P,d] at the template's soft positions.
    columns: prompt columns by site.
    layers: VPT-deep's vectors [L,P,d] by stack.
    branches: parallel branches by site.
    deltas: changes of linear maps and norms, by the checkpoint's own module name.
    added: [S,d], added to the embeddings of the first S real tokens (DePT).
    head: a linear classifier that takes the verbalizer's place.
    slot_scale: [P], added to the attention logits of the slots in every layer; None for zero.
    gate: source prompts that are weighed for every row (`gate.py`), in the place of `slots`.
    late: a prompt that fills the slots at a later layer (`late.py`), in the place of `slots`.
    weights: backbone tensors that were themselves tuned; such an injection never mixes in a batch.
    """

    slots: Tensor | None = None
    columns: Mapping[Site, Columns] = field(default_factory=dict)
    layers: Mapping[Stack, Tensor] = field(default_factory=dict)
    branches: Mapping[Site, Branch] = field(default_factory=dict)
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    head: Head | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    gate: Gate | None = None
    slot_scale: Tensor | None = None
    added: Tensor | None = None
    late: Late | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under a flat name, as a pack stores it."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        if self.slots is not None:
            yield "slots", self.slots
        if self.slot_scale is not None:
            yield "slots.log_scale", self.slot_scale
        for site, columns in self.columns.items():
            yield f"columns.{site}.key", columns.key
            yield f"columns.{site}.value", columns.value
            if columns.log_scale is not None:
                yield f"columns.{site}.log_scale", columns.log_scale
        for stack, vectors in self.layers.items():
            yield f"layers.{stack}", vectors
        for site, branch in self.branches.items():
            yield f"branches.{site}.key", branch.key
            yield f"branches.{site}.value", branch.value
            yield f"branches.{site}.gate", branch.gate
        for name, delta in self.deltas.items():
            for part, tensor in delta.parts.items():
                yield f"deltas.{name}.{part}", tensor
        if self.added is not None:
            yield "added", self.added
        if self.head is not None:
            yield "head.weight", self.head.weight
            yield "head.bias", self.head.bias
        if self.gate is not None:
            yield from self.gate.tensors()
        if self.late is not None:
            yield from self.late.tensors()
        for name, tensor in self.weights.items():
            yield f"weights.{name}", tensor

    def conventions(self) -> dict[str, Convention]:
        """Position convention by site, where it is not the default; a pack's card keeps it."""
        return {
            site: columns.convention
            for site, columns in self.columns.items()
            if columns.convention != "kept"
        }

    @staticmethod
    def from_tensors(
        tensors: Mapping[str, Tensor], conventions: Mapping[str, Convention] | None = None
    ) -> Injection:
        """The inverse of `tensors`. Raises `PackError` on a name that no part has."""
        conventions = conventions or {}
        left = dict(tensors)
        slots, slot_scale = left.pop("slots", None), left.pop("slots.log_scale", None)
        columns: dict[Site, Columns] = {}
        branches: dict[Site, Branch] = {}
        layers: dict[Stack, Tensor] = {}
        for site in SITES:
            if f"columns.{site}.key" in left:
                columns[site] = Columns(
                    left.pop(f"columns.{site}.key"),
                    _take(left, f"columns.{site}.value"),
                    left.pop(f"columns.{site}.log_scale", None),
                    conventions.get(site, "kept"),
                )
            if f"branches.{site}.key" in left:
                branches[site] = Branch(
                    left.pop(f"branches.{site}.key"),
                    _take(left, f"branches.{site}.value"),
                    _take(left, f"branches.{site}.gate"),
                )
        for stack in ("encoder", "decoder"):
            if f"layers.{stack}" in left:
                layers[stack] = left.pop(f"layers.{stack}")
        head = None
        if "head.weight" in left:
            head = Head(left.pop("head.weight"), _take(left, "head.bias"))
        gate, late = gate_from(left), late_from(left)
        deltas, added = deltas_from(left), left.pop("added", None)
        weights = {
            name.removeprefix("weights."): left.pop(name)
            for name in list(left)
            if name.startswith("weights.")
        }
        if left:
            raise PackError(
                f"The pack holds tensors that no prompt part has: {', '.join(sorted(left)[:5])}",
                expected="slots, columns, layers, branches, deltas, added, gates, late, head or "
                "weights",
                do="The pack was written by a newer version or changed by hand",
            )
        return Injection(
            slots, columns, layers, branches, deltas, head, weights, gate, slot_scale, added, late
        )

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Injection:
        """The same parts in another dtype or on another device (weights and head included)."""
        moved = {name: t.detach().to(device, dtype) for name, t in self.tensors().items()}
        return Injection.from_tensors(moved, self.conventions())

    @property
    def length(self) -> int:
        """P of the input: how many positions of the length limit the prompt takes."""
        if self.gate is not None:
            return self.gate.length
        if self.late is not None:
            return self.late.vectors.shape[0]
        return 0 if self.slots is None else self.slots.shape[0]


def _take(tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise PackError(f"The pack lacks the tensor '{name}'", do="Restore it or tune it again")
    return tensors.pop(name)
