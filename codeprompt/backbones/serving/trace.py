"""The decoder's step without Python: recorded once for each kind of prompt, then replayed.

A step is some 500 small operations, and a third of its time is Python's. `torch.jit.trace` records
them for any number of rows, beams, steps and source tokens; a recording depends on which parts the
prompts have (`signature`) alone. Recording takes a fraction of a second, happens in a thread of its
own while steps go on as they were, and is never stored: it would be code. torch has announced the
end of `torch.jit.trace`; where recording fails, steps go on as they were.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.backbones.threads import computing_on
from codeprompt.inject import Delta, Injected
from codeprompt.inject.rows import BranchRows

Signature = tuple[tuple[Any, ...], tuple[tuple[str, tuple[str, ...]], ...]]
"""The sites of branches; the names of changed maps, with the parts of their changes."""
Replay = Callable[..., Tensor]
PATIENCE = 32
"""Steps of a kind before it is recorded: a single short answer is not worth it."""
KEPT = 8
"""Recordings kept; each holds a few MB."""


class Traces:
    """Recordings by kind, the latest used kept; made one at a time beside the steps.

    patience: steps of a kind before it is recorded. background: False records within the step.
    """

    def __init__(
        self, *, patience: int = PATIENCE, kept: int = KEPT, background: bool = True
    ) -> None:
        self.patience, self.kept, self.background = patience, kept, background
        self.made: OrderedDict[Signature, Replay | None] = OrderedDict()
        self.steps: Counter[Signature] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def find(self, kind: Signature) -> Replay | None:
        """The recording of a kind, if there is one already."""
        with self._lock:
            if kind in self.made:
                self.made.move_to_end(kind)
            return self.made.get(kind)

    def ask(
        self,
        kind: Signature,
        example: Callable[[], Sequence[Tensor]],
        record: Callable[[Signature, Sequence[Tensor]], Replay | None],
    ) -> None:
        """Count a step that had no recording; begin to record once there were enough."""
        with self._lock:
            self.steps[kind] += 1
            busy = self._thread is not None and self._thread.is_alive()
            if kind in self.made or busy or self.steps[kind] < self.patience:
                return
            del self.steps[kind]
            given, inference = example(), torch.is_inference_mode_enabled()

        def work() -> None:
            with torch.inference_mode(inference), computing_on(1):
                self._keep(kind, record(kind, given))

        if self.background:
            self._thread = threading.Thread(target=work, name="recording")
            self._thread.start()
        else:
            work()

    def wait(self) -> None:
        """Until nothing is being recorded."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _keep(self, kind: Signature, made: Replay | None) -> None:
        with self._lock:
            self.made[kind] = made
            while len(self.made) > self.kept:
                self.made.popitem(last=False)


def signature(injected: Injected) -> Signature:
    """What a recording depends on."""
    changes = sorted((name, tuple(delta.parts)) for name, delta in injected.deltas.items())
    return tuple(sorted(injected.branches)), tuple(changes)


def flat(injected: Injected, found: Signature) -> list[Tensor]:
    """The tensors that a step reads, in the signature's order."""
    out: list[Tensor] = []
    for site in found[0]:
        rows = injected.branches[site]
        out += [rows.key, rows.value, rows.bias, rows.gate]
    for name, _ in found[1]:
        out += injected.deltas[name].parts.values()
    return out


def rebuilt(found: Signature, tensors: Sequence[Tensor]) -> Injected:
    """The inverse of `flat`."""
    left = iter(tensors)
    branches = {
        site: BranchRows(next(left), next(left), next(left), next(left)) for site in found[0]
    }
    deltas = {name: Delta(**{p: next(left) for p in parts}) for name, parts in found[1]}
    return Injected(None, {}, branches, deltas)


def record(
    step: Callable[..., Tensor], packed: Iterable[nn.Module], example: Sequence[Tensor]
) -> Replay | None:
    """`step` as a recording, or None where this torch cannot make one.

    packed: modules that hold what a recording cannot take as a constant (int8 weights).
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the announced end, and of sizes read in Python
            trace: Any = torch.jit.trace
            made = trace(_Root(step, packed), tuple(example), check_trace=False)
    except Exception:  # whatever it is, the step itself still works
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
