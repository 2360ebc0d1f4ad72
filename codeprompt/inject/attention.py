"""Attention: torch's fused one, and plain products where they are faster.

In bf16 on processors without AMX, torch's fused attention spends most of its time outside of the
products. One row of a batch at a time, as plain products whose scores stay in the cache, it is
twice as fast forward and backward (benchmarks/speed), and holds no more: scores are made again in
the backward pass. The few queries of a decoding step go through plain products of all rows at once.
With AMX the fused one is twice as fast forward, and two to four times for one query.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.processor import has

QUERIES = 16
"""Fewer queries are a decoding step."""


def attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *, scale: float, dropout: float = 0.0
) -> Tensor:
    """softmax(scale * q k + bias) v: q [B,H,Q,h]; k, v [B,H,S,h]; bias [B|1,H|1,Q|1,S]."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        if dropout or (bias is not None and bias.requires_grad):
            return _plain(q, k, v, bias, scale, dropout)
        learns = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        if learns or not has("amx_bf16"):
            if q.shape[2] < QUERIES:
                return torch.matmul(_softmax(torch.matmul(q, k.mT), bias, scale), v)
            out: Tensor = _RowByRow.apply(q, k, v, bias, scale)  # type: ignore[no-untyped-call]
            return out
    if bias is not None:
        bias = bias.expand(-1, -1, q.shape[2], -1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale, dropout_p=dropout)


def _plain(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float
) -> Tensor:
    """Written out: torch's fused one takes a slow path for a bias that learns, and for dropout."""
    scores = torch.matmul(q, k.mT)
    if scale != 1.0:
        scores = scores * scale
    if bias is not None:
        scores = scores + bias
    weights = F.dropout(scores.softmax(-1), dropout).to(v.dtype)
    return torch.matmul(weights, v)


class _RowByRow(torch.autograd.Function):
    """Gradients for q, k and v; the bias has none."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float
    ) -> Tensor:
        out = _empty(q)
        for row in range(q.shape[0]):
            out[row] = torch.matmul(_weights(q, k, bias, scale, row), v[row])
        ctx.save_for_backward(q, k, v, bias)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        q, k, v, bias = ctx.saved_tensors
        dq, dk, dv = _empty(q), _empty(k), _empty(v)
        for row in range(q.shape[0]):
            weights = _weights(q, k, bias, ctx.scale, row)
            dv[row] = torch.matmul(weights.mT, grad[row])
            back = torch.matmul(grad[row], v[row].mT)
            back = torch._softmax_backward_data(back, weights, -1, weights.dtype)
            back.mul_(ctx.scale)
            dq[row] = torch.matmul(back, k[row])
            dk[row] = torch.matmul(back.mT, q[row])
        return dq, dk, dv, None, None


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, scale: float, row: int) -> Tensor:
    """One row's attention weights [H,Q,S]."""
    over = None if bias is None else bias[row if bias.shape[0] > 1 else 0]
    return _softmax(torch.matmul(q[row], k[row].mT), over, scale)


def _softmax(scores: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """softmax(scale * scores + bias); the scores are used up."""
    if scale != 1.0:
        scores = scores.mul_(scale)
    if bias is not None:
        scores = scores.add_(bias)
    return scores.softmax(-1)


def _empty(like: Tensor) -> Tensor:
    """[B,H,S,h] laid out as [B,S,H,h], so that joining the heads copies nothing."""
    rows, heads, length, size = like.shape
    return like.new_empty(rows, length, heads, size).transpose(1, 2)
