"""Cross-entropy over a wide vocabulary without holding its logits.

With a frozen head the gradient of the loss is known as soon as the logits are: both are made a
few rows at a time in the forward pass (as in Hsu et al. 2024, Liger Kernel, section 3.2), so that
neither logits nor probabilities [N,V] are kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 64
"""Rows of logits at a time: 8 MB in float32 at 32,000 tokens."""


def summed_cross_entropy(hidden: Tensor, weight: Tensor, tokens: Tensor) -> Tensor:
    """Sum of -log softmax(weight hidden)[token]: hidden [N,d], weight [V,d], tokens [N]."""
    if weight.requires_grad or not (hidden.requires_grad and torch.is_grad_enabled()):
        logits = F.linear(hidden, weight)
        return F.cross_entropy(_wide(logits), tokens, reduction="sum")
    total: Tensor = _Frozen.apply(hidden, weight, tokens)  # type: ignore[no-untyped-call]
    return total


class _Frozen(torch.autograd.Function):
    """The gradient for hidden alone."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, tokens: Tensor) -> Tensor:
        grad, total = torch.empty_like(hidden), hidden.new_zeros((), dtype=_dtype(hidden))
        for start in range(0, len(tokens), ROWS):
            part = slice(start, start + ROWS)
            rows = _wide(F.linear(hidden[part], weight)).log_softmax(-1)
            index = tokens[part, None]
            total -= rows.gather(1, index).sum()
            rows.exp_()
            rows.scatter_add_(1, index, rows.new_full(index.shape, -1.0))
            grad[part] = torch.matmul(rows.to(hidden.dtype), weight)
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None


def _dtype(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)


def _wide(logits: Tensor) -> Tensor:
    """Softmaxes are taken in float32 or better."""
    return logits.to(_dtype(logits))
