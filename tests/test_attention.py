"""Attention in bf16 on processors: whichever way is taken, it says the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from codeprompt.inject import attention as module
from codeprompt.inject.attention import attention


@pytest.mark.parametrize("queries", [1, 4, 40])
@pytest.mark.parametrize("bias", [None, "keys", "all"])
@pytest.mark.parametrize("amx", [True, False])
def test_bf16_is_near_float32(
    monkeypatch: pytest.MonkeyPatch, queries: int, bias: str | None, amx: bool
) -> None:
    """With AMX and without, for a step and a source, with a bias over keys or over all pairs."""
    monkeypatch.setattr(module, "has", lambda name: amx)
    q, k, v = parts(queries)
    over = {"keys": (3, 1, 1, 24), "all": (1, 2, queries, 24)}
    added = torch.randn(over[bias]) if bias else None
    if bias == "keys":
        assert added is not None
        added[1, ..., 20:] = float("-inf")
    exact = attention(q, k, v, added, scale=0.3)
    narrow = None if added is None else added.bfloat16()
    found = attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), narrow, scale=0.3)
    torch.testing.assert_close(found.float(), exact, atol=0.03, rtol=0.03)


@pytest.mark.parametrize("amx", [True, False])
def test_bf16_learns_as_float32(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    """Gradients of queries, keys and values are near, too."""
    monkeypatch.setattr(module, "has", lambda name: amx)
    exact = [x.requires_grad_() for x in parts(40)]
    narrow = [x.detach().bfloat16().requires_grad_() for x in exact]
    weight = torch.randn(3, 2, 40, 16)
    for some in (exact, narrow):
        (attention(*some, None, scale=0.3).float() * weight).sum().backward()
    for expected, found in zip(exact, narrow, strict=True):
        assert expected.grad is not None and found.grad is not None
        torch.testing.assert_close(found.grad.float(), expected.grad, atol=0.05, rtol=0.05)


def parts(queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """q [3,2,Q,16]; k, v [3,2,24,16]."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, 2, queries, 16, generator=generator)
    k, v = torch.randn(2, 3, 2, 24, 16, generator=generator)
    return q, k, v
