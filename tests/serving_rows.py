"""Batches that mix every kind of prompt, for tests of serving copies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.serving.kernels import int8_kernel
from codeprompt.backbones.t5 import T5
from codeprompt.inject import NOTHING, Branch, Columns, Delta, Injected, Injection
from tests import test_t5 as t5

needs_int8 = pytest.mark.skipif(int8_kernel() is None, reason="no int8 product on this processor")
MIX = torch.tensor([24, 9, 15, 24, 20, 6, 13, 8, 11, 17])


def every_prompt(model: T5) -> list[Injection]:
    """All ways in of the T5 tests, and changes and branches at every place that has a name."""
    torch.manual_seed(4)
    c = model.config
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    names.remove("lm_head")
    modules = dict(model.named_modules())
    deltas = {
        n: Delta(
            0.1 * torch.randn(3, modules[n].in_features), torch.randn(modules[n].out_features, 3)
        )
        for n in names
    }
    shape = (c.num_decoder_layers, c.num_heads, 2, c.d_kv)
    branch = Branch(torch.randn(shape), torch.randn(shape), torch.randn(c.num_decoder_layers))
    past = Columns(torch.randn(shape), torch.randn(shape), torch.randn(2), "past")
    extra = Injection(
        columns={"decoder": past, "cross": Columns(torch.randn(shape), torch.randn(shape))},
        branches={"cross": branch},
        deltas=deltas,
    )
    prompts = [p for p in t5.prompts(model) if not p.branches or c.num_decoder_layers == 2]
    return [*prompts, extra]


def mixed(lowered: list[Injection]) -> Source:
    """One row for each prompt, of different lengths, its slots in front."""
    rows = len(lowered)
    ids = torch.randint(3, 99, (rows, 24), generator=torch.Generator().manual_seed(5))
    slots = torch.full_like(ids, -1)
    for row, prompt in enumerate(lowered):
        slots[row, : prompt.length] = torch.arange(prompt.length)
    mask = torch.arange(24) < MIX[:rows, None]
    return Source(ids.masked_fill(~mask, 0), mask, slots)


def alone(source: Source, row: int) -> Source:
    """One row of a batch without its padding."""
    size = int(source.mask[row].sum())
    assert source.slots is not None
    cut = [x[row : row + 1, :size] for x in (source.ids, source.mask, source.slots)]
    return Source(*cut)


def teacher_forced(model: Any, source: Source, injected: Injected = NOTHING) -> Tensor:
    """Logits [B,U,V] over a fixed target."""
    rows = source.ids.shape[0]
    target = torch.randint(3, 99, (rows, 7), generator=torch.Generator().manual_seed(2))
    memory = model.remember(model.encode(source, injected), source, injected)
    found: Tensor = model.logits(model.decode(target, memory, injected)).float()
    return found


def divergence(found: Tensor, expected: Tensor) -> float:
    """Mean KL divergence of `found` from `expected`, in nats a position."""
    p, q = expected.log_softmax(-1), found.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def walk(model: Any, source: Source, injected: Injected, beams: int, steps: int) -> Tensor:
    """Logits [B,K,steps,V] of a fixed walk: the same tokens and parents whatever the logits."""
    memory = model.remember(model.encode(source, injected), source, injected)
    state = model.begin(memory, injected, beams, steps)
    generator = torch.Generator().manual_seed(6)
    found = []
    for _ in range(steps):
        ids = torch.randint(3, 99, (1, beams), generator=generator)
        found.append(model.step(ids.expand(state.rows, -1), state))
        parents = torch.randint(0, beams, (1, beams), generator=generator)
        state.reorder(parents.expand(state.rows, -1))
    return torch.stack(found, 2).float()
