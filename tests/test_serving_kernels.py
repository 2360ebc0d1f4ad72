"""Matrix products of serving copies: exact on integers, whatever stands beside a row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.serving import kernels
from codeprompt.backbones.serving.kernels import (
    Dense,
    Fbgemm,
    Int8,
    OneDnn,
    int8_kernel,
    quantise,
    works,
)
from tests.serving_rows import needs_int8

KERNELS = [
    pytest.param(k, marks=pytest.mark.skipif(not works(k), reason="not in this torch"))
    for k in (Fbgemm, OneDnn)
]


@pytest.mark.parametrize("kind", KERNELS)
def test_int8_rows_do_not_see_their_neighbours(kind: type[Int8]) -> None:
    """A row's product is the same to the bit alone, and beside zeros and thousandfold rows."""
    torch.manual_seed(0)
    kernel = kind(*quantise(torch.randn(48, 64)), torch.randn(48))
    x = torch.randn(6, 64)
    x[2] *= 1000
    x[4] = 0
    together = kernel(x)
    for row in range(6):
        expected = together[row : row + 1]
        torch.testing.assert_close(kernel(x[row : row + 1]), expected, atol=0, rtol=0)
        torch.testing.assert_close(kernel(x[[row, 1]])[:1], expected, atol=0, rtol=0)
    torch.testing.assert_close(together[4], kernel.bias)


@pytest.mark.parametrize("kind", KERNELS)
def test_int8_product_is_the_exact_product_of_rounded_numbers(kind: type[Int8]) -> None:
    """The kernels' result equals integer arithmetic on the rounded rows and weights."""
    torch.manual_seed(1)
    weight, x = torch.randn(40, 96), torch.randn(2, 5, 96)
    values, scale = quantise(weight)
    kernel = kind(values, scale)
    rows = x.abs().amax(-1, keepdim=True) / kernel.levels
    exact = (x / rows).round().double() @ values.double().T
    expected = exact * scale.double() * rows.double()
    torch.testing.assert_close(kernel(x).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("rows", [1, 33, 96])
def test_int8_feed_forward_is_exact_up_to_its_two_roundings(kind: type[Int8], rows: int) -> None:
    """Two products with a rectifier between them equal integer arithmetic on rounded rows."""
    torch.manual_seed(2)
    first, second = quantise(torch.randn(80, 32)), quantise(torch.randn(24, 80))
    wide, narrow, x = kind(*first), kind(*second), torch.randn(rows, 2, 32)
    x[0] = 0
    values, scale = (t.double() for t in first)
    between = (rounded(x.double(), wide.levels) @ (values * scale[:, None]).T).relu()
    values, scale = (t.double() for t in second)
    expected = rounded(between, wide.levels) @ (values * scale[:, None]).T
    found = wide.relu(x, narrow).double()
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=1e-3)  # a tie may round elsewhere
    assert not found[0].any()


def rounded(x: Tensor, levels: int) -> Tensor:
    """Rows [...,in] at the nearest of their levels."""
    step = (x.abs().amax(-1, keepdim=True) / levels).clamp_min(1e-30)
    return (x / step).round() * step


@pytest.mark.parametrize("kind", KERNELS)
def test_int8_rows_are_the_same_among_however_many(kind: type[Int8]) -> None:
    """A row gives the same to the bit among 1, 40 and 100 rows: those that fill up add nothing."""
    torch.manual_seed(3)
    kernel, x = kind(*quantise(torch.randn(48, 64))), torch.randn(100, 64)
    expected = kernel(x)
    for count in (1, 40):
        torch.testing.assert_close(kernel(x[:count]), expected[:count], atol=0, rtol=0)


@needs_int8
def test_a_kernel_leaves_its_input_as_it_was() -> None:
    """Products use up only what they made themselves."""
    torch.manual_seed(4)
    kernel = int8_kernel()
    assert kernel is not None
    wide, narrow, x = (
        kernel(*quantise(torch.randn(9, 8))),
        kernel(*quantise(torch.randn(4, 9))),
        torch.randn(5, 8),
    )
    before = x.clone()
    wide(x)
    wide.relu(x, narrow)
    torch.testing.assert_close(x, before, atol=0, rtol=0)


@pytest.mark.parametrize(("amx", "first"), [(True, OneDnn), (False, Fbgemm)])
def test_many_rows_go_where_matrices_are_fast(
    monkeypatch: pytest.MonkeyPatch, amx: bool, first: type[Int8]
) -> None:
    """With AMX oneDNN multiplies what comes by the hundreds, FBGEMM the rest; else FBGEMM all."""
    monkeypatch.setattr(kernels, "has", lambda name: amx and name == "amx_int8")
    monkeypatch.setattr(kernels, "works", lambda kernel: True)
    monkeypatch.setattr(kernels.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    choose = int8_kernel.__wrapped__
    assert choose(many=True) is first
    assert choose(many=False) is Fbgemm


def test_rows_in_pieces_do_not_copy_the_weight() -> None:
    """A float product of rows that do not lie one after the other equals that of those that do."""
    torch.manual_seed(5)
    kernel, x = Dense(torch.randn(7, 6)), torch.randn(4, 9, 6)
    torch.testing.assert_close(kernel(x[:, 2:5]), kernel(x)[:, 2:5])
