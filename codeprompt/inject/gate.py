"""Prompts that depend on the row: a gate looks at the input and weighs K source prompts.

The row's own input embeddings are max-pooled over its real tokens and pass down -> SiLU -> up ->
LayerNorm; a softmax of the products with one key a source gives the weights (Asai et al. 2022,
ATTEMPT, section 3.2; Peng et al. 2023, SESoM, section 3.2). What is weighed is said by `over`:

- `slots`: slot vectors are mixed before the pass, P(x) = target + sum_k a_k P_k;
- `outputs`: every source passes as a row of its own, and probabilities are mixed;
- `votes`: the same rows, and the label that most of them say wins (Lester et al. 2021, section 6);
  written text is mixed as under `outputs`.

A gate without a query weighs all sources alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.errors import PackError

if TYPE_CHECKING:
    from codeprompt.inject.parts import Injection

Over = Literal["slots", "outputs", "votes"]
OVER: tuple[Over, ...] = ("slots", "outputs", "votes")
EPSILON = 1e-5


@dataclass(frozen=True)
class Query:
    """LayerNorm(up SiLU(down x)): down [r,d], up [d,r], weight, bias [d]; keys [K,d].

    A softmax temperature is folded into the keys.
    """

    down: Tensor
    up: Tensor
    weight: Tensor
    bias: Tensor
    keys: Tensor

    def scores(self, pooled: Tensor) -> Tensor:
        """What the softmax reads: pooled [B,d] -> [B,K], in float32 or better."""
        x = self.mapped(pooled)
        return F.linear(x, _like(self.keys, x))

    def mapped(self, pooled: Tensor) -> Tensor:
        """LN(up SiLU(down x)): [B,d] -> [B,d]."""
        x = F.linear(F.silu(F.linear(pooled, _like(self.down, pooled))), _like(self.up, pooled))
        return F.layer_norm(x, (x.shape[-1],), _like(self.weight, x), _like(self.bias, x), EPSILON)


@dataclass(frozen=True)
class Gate:
    """K source prompts and what weighs them.

    sources: [K,P,d]. query: None weighs all alike. target: [P,d], added to a mix of slots.
    top: only so many sources with the highest scores count; 0 for all. balance: weight of the
    load-balance loss while training; no pack keeps it.
    """

    sources: Tensor
    query: Query | None = None
    target: Tensor | None = None
    top: int = 0
    over: Over = "slots"
    balance: float = 0.0

    @property
    def count(self) -> int:
        """K."""
        return self.sources.shape[0]

    @property
    def length(self) -> int:
        """P."""
        return self.sources.shape[1]

    def shares(self, vectors: Tensor, real: Tensor) -> Tensor:
        """The weight of every source: embeddings [B,T,d] at real tokens [B,T] -> [B,K]."""
        scores = self.scores(vectors, real)
        if 0 < self.top < self.count:
            least = scores.topk(self.top).values[:, -1:]
            scores = scores.masked_fill(scores < least, -math.inf)
        return scores.softmax(-1)

    def scores(self, vectors: Tensor, real: Tensor) -> Tensor:
        """Before the softmax and its choice of the best: [B,K]."""
        wide = torch.promote_types(vectors.dtype, torch.float32)
        if self.query is None:
            return vectors.new_zeros(vectors.shape[0], self.count, dtype=wide)
        pooled = vectors.to(wide).masked_fill(~real.unsqueeze(-1), -math.inf).amax(1)
        return self.query.scores(pooled)

    def mixed(self, vectors: Tensor, real: Tensor) -> Tensor:
        """sum_k a_k P_k for every row: [B,P,d]."""
        shares = self.shares(vectors, real)
        return torch.einsum("bk,kpd->bpd", shares, self.sources.to(shares.dtype))

    def balance_loss(self, vectors: Tensor, real: Tensor) -> Tensor:
        """K sum_k f_k p_k: 1 where rows go to all sources alike, K where one takes them all.

        f_k: the share of the rows' choices that fall on k; p_k: the mean probability of k before
        the choice (Fedus et al. 2022, Switch Transformers, section 2.2).
        """
        scores = self.scores(vectors, real)
        chosen = scores.topk(max(1, min(self.top or 1, self.count))).indices
        taken = F.one_hot(chosen, self.count).to(scores.dtype).mean((0, 1))
        return self.count * (taken * scores.softmax(-1).mean(0)).sum()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors, as a pack keeps them."""
        name = f"gates.{self.over}"
        yield f"{name}.sources", self.sources
        if self.query is not None:
            for part in Query.__dataclass_fields__:
                yield f"{name}.{part}", getattr(self.query, part)
        if self.target is not None:
            yield f"{name}.target", self.target
        if self.top:
            yield f"{name}.top", self.sources.new_tensor([float(self.top)])


def gate_from(left: dict[str, Tensor]) -> Gate | None:
    """The inverse of `Gate.tensors`; what it takes leaves the table. Raises `PackError`."""
    for over in OVER:
        name = f"gates.{over}"
        if f"{name}.sources" not in left:
            continue
        sources, query = left.pop(f"{name}.sources"), None
        parts = [part for part in Query.__dataclass_fields__ if f"{name}.{part}" in left]
        if parts:
            if len(parts) < len(Query.__dataclass_fields__):
                raise PackError(
                    f"The pack's gate has only {', '.join(parts)}",
                    expected=", ".join(Query.__dataclass_fields__),
                    do="Restore it or tune it again",
                )
            query = Query(**{part: left.pop(f"{name}.{part}") for part in parts})
        top = left.pop(f"{name}.top", None)
        count = 0 if top is None else int(top.flatten()[0])
        return Gate(sources, query, left.pop(f"{name}.target", None), count, over)
    return None


@dataclass(frozen=True)
class GateRows:
    """The gates over slots of a batch. index: each row's [B], -1 for none; None: all the first."""

    gates: tuple[Gate, ...]
    index: Tensor | None = None

    def select(self, index: Tensor) -> GateRows:
        """The gates of some rows: index [R]."""
        return self if self.index is None else replace(self, index=self.index[index])

    def added(self, slots: Tensor, vectors: Tensor, real: Tensor) -> Tensor:
        """Slot vectors [B|1,P,d] and what every row's own gate adds to them: [B,P,d]."""
        wide = torch.promote_types(vectors.dtype, torch.float32)
        out = slots.to(wide).expand(vectors.shape[0], -1, -1)
        for place, gate in enumerate(self.gates):
            if self.index is None:
                rows = torch.arange(vectors.shape[0], device=vectors.device)
            else:
                rows = (self.index == place).nonzero().flatten().to(vectors.device)
            if len(rows) == 0:
                continue
            mixed = gate.mixed(vectors[rows], real[rows]).to(wide)
            mixed = F.pad(mixed, (0, 0, 0, out.shape[1] - gate.length))
            out = out.index_add(0, rows, mixed)
        return out


def gate_rows(injections: Sequence[Injection], index: Tensor | None) -> GateRows | None:
    """The gates over slots among a batch's prompts; None where there is none."""
    found = [i.gate if i.gate is not None and i.gate.over == "slots" else None for i in injections]
    gates = tuple(gate for gate in found if gate is not None)
    if not gates:
        return None
    if index is None:
        return GateRows(gates)
    numbers = iter(range(len(gates)))
    places = torch.tensor([-1 if gate is None else next(numbers) for gate in found])
    return GateRows(gates, places[index.cpu()])


def start(injection: Injection) -> Tensor | None:
    """The slot vectors before any gate: [P,d]; None where a prompt has none."""
    gate = injection.gate
    if injection.late is not None:  # nothing sees what stands there before it enters
        return torch.zeros_like(injection.late.vectors)
    if gate is None or gate.over != "slots":
        return injection.slots
    return torch.zeros_like(gate.sources[0]) if gate.target is None else gate.target


def members(injection: Injection) -> list[Injection]:
    """The prompts that pass as rows of their own: the prompt itself, or its K sources."""
    gate = injection.gate
    if gate is None or gate.over == "slots":
        return [injection]
    return [replace(injection, slots=source, gate=None) for source in gate.sources]


def check_gate(name: str, tensors: Mapping[str, Tensor], d: int) -> None:
    """Every shape of a gate fits the others and the backbone's d. Raises `PackError`."""
    sources = tensors[f"{name}.sources"]
    count, length = sources.shape[:2]
    rank = tensors[f"{name}.down"].shape[0] if f"{name}.down" in tensors else 0
    shapes = {
        "sources": (count, length, d),
        "down": (rank, d),
        "up": (d, rank),
        "weight": (d,),
        "bias": (d,),
        "keys": (count, d),
        "target": (length, d),
        "top": (1,),
    }
    for part, shape in shapes.items():
        tensor = tensors.get(f"{name}.{part}")
        if tensor is not None and tuple(tensor.shape) != shape:
            raise PackError(
                f"The pack's tensor '{name}.{part}' has the shape {list(tensor.shape)}",
                expected=str(list(shape)),
                do="Restore the pack from where it came from, or tune it again",
            )


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(other.dtype)
