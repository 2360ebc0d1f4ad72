"""The decoder's step without Python: recorded once for each kind of prompt, then replayed.

A step is some 500 small operations, and a third of its time is Python's. `torch.jit.trace` records
them for any number of rows, beams, steps and source tokens; a recording depends on which parts the
prompts have (`signature`) alone. Recording takes a fraction of a second, may happen in another
thread, and is never stored: it would be code. torch has announced the end of `torch.jit.trace`;
where recording fails, steps go on as they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.backbones.serving.state import Memory
from codeprompt.inject import Injected, LowRank
from codeprompt.inject.rows import BranchRows

Signature = tuple[bool, tuple[Any, ...], tuple[str, ...], torch.dtype]
"""Whether sources have a bias, the sites of branches, the names of changed maps, memory's dtype."""


def signature(injected: Injected, memory: Memory) -> Signature:
    """What a recording depends on."""
    branches, deltas = tuple(sorted(injected.branches)), tuple(sorted(injected.deltas))
    return memory.bias is not None, branches, deltas, memory.pairs.dtype


def flat(injected: Injected, found: Signature) -> list[Tensor]:
    """The tensors that a step reads, in the signature's order."""
    out: list[Tensor] = []
    for site in found[1]:
        rows = injected.branches[site]
        out += [rows.key, rows.value, rows.bias, rows.gate]
    for name in found[2]:
        out += [injected.deltas[name].down, injected.deltas[name].up]
    return out


def rebuilt(found: Signature, tensors: Sequence[Tensor]) -> Injected:
    """The inverse of `flat`."""
    left = iter(tensors)
    branches = {
        site: BranchRows(next(left), next(left), next(left), next(left)) for site in found[1]
    }
    deltas = {name: LowRank(next(left), next(left)) for name in found[2]}
    return Injected(None, {}, branches, deltas)


def record(
    step: Callable[..., Tensor], packed: Iterable[nn.Module], example: Sequence[Tensor]
) -> Callable[..., Tensor] | None:
    """`step` as a recording, or None where this torch cannot make one.

    packed: modules that hold what a recording cannot take as a constant (int8 weights).
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the announced end, and of sizes read in Python
            trace: Any = torch.jit.trace
            made = trace(_Root(step, packed), tuple(example), check_trace=False)
    except (RuntimeError, AttributeError):
        return None

    unoptimised: Any = torch.jit.optimized_execution  # type: ignore[attr-defined]

    def replay(*tensors: Tensor) -> Tensor:
        # Unoptimised on purpose: optimising recompiles for every new shape.
        with unoptimised(False):
            found: Tensor = made(*tensors)
        return found

    return replay


class _Root(nn.Module):
    def __init__(self, step: Callable[..., Tensor], packed: Iterable[nn.Module]) -> None:
        super().__init__()
        self.packed, self.step = nn.ModuleList(packed), step

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.step(*tensors)
