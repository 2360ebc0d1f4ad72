"""What makes a training step fast changes nothing about its numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones import _loss
from codeprompt.backbones._loss import summed_cross_entropy
from codeprompt.forward import generation_loss
from codeprompt.inject import Injection, attention, collate
from tests import test_t5 as t5
from tests.tiny import tiny_t5


def reference(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Attention from its definition, in float64."""
    scores = scale * q.double() @ k.double().mT
    if bias is not None:
        scores = scores + bias.double()
    return scores.softmax(-1) @ v.double()


@pytest.mark.parametrize("queries", [3, 20])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("heads", [1, 2])
def test_plain_attention_is_attention(rows: int, heads: int, queries: int) -> None:
    """In bf16, forward and backward, with biases that rows or heads share, padding included."""
    generator = torch.Generator().manual_seed(0)

    def make(length: int) -> Tensor:
        made = torch.randn(3, length, 2, 8, generator=generator).bfloat16()
        return made.transpose(1, 2).requires_grad_()

    q, k, v = make(queries), make(25), make(25)
    bias = torch.randn(rows, heads, queries, 25, generator=generator).bfloat16()
    bias[..., 20:] = -torch.inf
    weight = torch.randn(3, 2, queries, 8, generator=generator)
    expected = reference(q, k, v, bias, 0.5)
    wanted = torch.autograd.grad((expected * weight).sum(), (q, k, v))
    found = attention.attention(q, k, v, bias, scale=0.5)
    assert ("RowByRow" in type(found.grad_fn).__name__) == (queries == 20)
    slopes = torch.autograd.grad((found * weight).sum(), (q, k, v))
    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)
    for slope, other in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(slope, other, atol=0.06, rtol=0.06)


def test_a_bias_that_learns_keeps_its_gradient() -> None:
    """Full fine-tuning in bf16 trains relative biases: they get a gradient."""
    q = torch.randn(2, 2, 20, 8).bfloat16()
    bias = torch.randn(1, 2, 20, 20).bfloat16().requires_grad_()
    attention.attention(q, q, q, bias, scale=1.0).sum().backward()
    assert bias.grad is not None


@pytest.mark.parametrize("frozen", [True, False])
def test_loss_in_parts_is_the_loss(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and gradients equal cross-entropy over whole logits, with a frozen head and without."""
    monkeypatch.setattr(_loss, "ROWS", 4)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(33, 8, generator=generator, dtype=torch.float64)
    weight.requires_grad_(not frozen)
    tokens = torch.randint(0, 33, (10,), generator=generator)
    expected = F.cross_entropy(hidden @ weight.T, tokens, reduction="sum")
    (wanted,) = torch.autograd.grad(3 * expected, hidden)
    found = summed_cross_entropy(hidden, weight, tokens)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * found, hidden)[0], wanted)


def test_bf16_weights_keep_the_prompts_gradient() -> None:
    """Float32 prompt, bf16 model: the gradient points where all-float32's does.

    So small a model averages little: plain bf16 gives 0.995 here too. At CodeT5-small's shape
    `benchmarks.speed train-step` refuses to time anything below 0.998.
    """
    slopes = []
    for dtype in (torch.float32, torch.bfloat16):
        backbone = tiny_t5().to(dtype)
        torch.manual_seed(0)
        prompt = torch.randn(4, backbone.d_model, requires_grad=True)
        source = t5.sources()
        slots = torch.full_like(source.ids, -1)
        slots[:, :4] = torch.arange(4)
        source = type(source)(source.ids, source.mask | (slots >= 0), slots)
        labels = torch.randint(3, 99, (5, 9), generator=torch.Generator().manual_seed(2))
        labels[1, 4:] = -100
        injected = collate([Injection(slots=prompt)])
        hidden = backbone.encode(source, injected)
        loss = generation_loss(backbone, source, hidden, labels, injected)
        slopes.append(torch.autograd.grad(loss, prompt)[0].flatten())
    assert slopes[1].dtype == torch.float32
    assert F.cosine_similarity(slopes[0], slopes[1], dim=0) > 0.99
