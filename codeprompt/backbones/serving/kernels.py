"""Matrix products of a serving copy: float32, bf16, or int8 with an activation scale for each row.

int8 is symmetric: weights have one scale an output channel, activations one scale a row, taken
when the row comes. Products of integers are exact, so a row's result never depends on the rows
beside it; torch's own dynamic quantisation takes one scale for the whole batch. Two of torch's
products do it: FBGEMM's, which rounds the rows itself and is the fastest for few rows and without
AMX (3-5% behind dynamic quantisation with one scale for all), and oneDNN's, which multiplies many
rows twice as fast where there is AMX. Elsewhere oneDNN's is some 15% slower, and there for the day
when torch drops its quantised tensors, as it has announced.
"""

from __future__ import annotations

import contextlib
import functools
import math
import platform
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones.threads import computing_on
from codeprompt.processor import bf16_is_fast, has, vnni

Precision = Literal["float32", "bf16", "int8"]
ROWS = 2048
"""Rows of a weight that are made int8 at a time: their floats are many times what comes of them."""
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
"""What activations are kept in."""
MANY = 1 << 16
"""Numbers from which reading them twice is faster than writing their absolutes down."""
TOGETHER = 32
"""Rows in whose multiples products are asked for more: see `_filled`."""
TINY = 1e-30
"""The least scale, so that a row of zeros does not divide by zero."""


class Kernel(Protocol):
    """x [...,in] -> [...,out]."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Dense:
    """A float product: weight [out,in], bias [out] or None."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        # Rows that do not lie one after the other would have the weight copied for each of a batch.
        return F.linear(x.contiguous(), self.weight, self.bias)


class Holder(nn.Module):
    """Packed weights as a module's attribute, which is how a recording refers to them."""

    def __init__(self, packed: Any) -> None:
        super().__init__()
        self.packed = packed


class Int8(ABC):
    """An int8 product: values [out,in] int8, scale [out] float32, bias [out] or None."""

    holder: Holder

    def __init__(self, values: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        self.bias = bias
        # Without VNNI two products are summed in 16 bits: rows of seven bits never overflow there.
        self.levels = 127 if vnni() else 63
        self.pack(values, scale)

    def __call__(self, x: Tensor) -> Tensor:
        scale = _scale(_largest(x), self.levels)
        y = _cut(self.product(_filled(x, scale)), x)
        return y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale)

    def relu(self, x: Tensor, then: Int8) -> Tensor:
        """then(relu(self(x))), both without a bias: x [...,in] -> [...,out].

        A row's scale is positive, so it passes through the rectifier and is only multiplied in at
        the end: what lies between, four times as wide, is written once and read twice.
        """
        scale = _scale(_largest(x), self.levels)
        wide = self.product(_filled(x, scale), relu=True)
        more = _scale(wide.amax(-1, keepdim=True), then.levels)
        y = _cut(then.product(wide.div_(more)), x)
        return y.mul_(scale.mul_(_cut(more, x)))

    @abstractmethod
    def pack(self, values: Tensor, scale: Tensor) -> None:
        """Lay the weights out as the product wants them."""

    @abstractmethod
    def product(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """Round rows x [...,in] within `levels` to integers and multiply: [...,out].

        x is used up. relu: rectify what comes.
        """


class Fbgemm(Int8):
    """FBGEMM's product, through torch's quantised tensors."""

    def pack(self, values: Tensor, scale: Tensor) -> None:
        zeros = torch.zeros(len(scale), dtype=torch.long)
        with warnings.catch_warnings(), _engine("fbgemm"):
            warnings.simplefilter("ignore")  # quantised tensors announce their removal
            weight = torch._make_per_channel_quantized_tensor(values, scale.double(), zeros, 0)
            self.packed = torch.ops.quantized.linear_prepack(weight, None)
        self.holder = Holder(self.packed)

    def product(self, x: Tensor, *, relu: bool = False) -> Tensor:
        product = (
            torch.ops.quantized.linear_with_input_q_dq_qweight_dq_relu_output_fp32
            if relu
            else torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        )
        found: Tensor = product(x, 1.0, self.levels + 1, self.packed)
        return found


class OneDnn(Int8):
    """oneDNN's product, as torch's compiler calls it."""

    def pack(self, values: Tensor, scale: Tensor) -> None:
        self.scale = scale
        self.zeros = torch.zeros(len(scale), dtype=torch.int32)
        self.packed = torch.ops.onednn.qlinear_prepack(values, None)
        self.holder = Holder(self.packed)

    def product(self, x: Tensor, *, relu: bool = False) -> Tensor:
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            x.round_().to(torch.int8),
            1.0,
            0,
            self.packed,
            self.scale,
            self.zeros,
            None,
            1.0,
            0,
            torch.float32,
            "relu" if relu else "none",
            [],
            "",
        )
        return found


def _scale(largest: Tensor, levels: int) -> Tensor:
    """What a level of each row stands for, given the row's largest absolute value [...,1]."""
    return largest.div_(levels).clamp_min_(TINY)


def _filled(x: Tensor, scale: Tensor) -> Tensor:
    """x/scale [...,in]; many rows as [R,in], with zeros up to a multiple of `TOGETHER`.

    Both libraries make code for every number of rows that they meet. What they keep of it lies
    between the temporaries of the products, so that the heap grows by megabytes each time.
    """
    if x.numel() <= TOGETHER * x.shape[-1]:
        return x.div(scale)
    flat = x.reshape(-1, x.shape[-1])
    count = len(flat)
    rows = x.new_empty(math.ceil(count / TOGETHER) * TOGETHER, x.shape[-1])
    torch.div(flat, scale.view(count, 1), out=rows[:count])
    rows[count:] = 0
    return rows


def _cut(y: Tensor, x: Tensor) -> Tensor:
    """The rows of a product that are x's: y [...|R,out] -> [...,out]."""
    if y.shape[:-1] == x.shape[:-1]:
        return y
    count = math.prod(x.shape[:-1])
    return y[:count].view(*x.shape[:-1], y.shape[-1])


def _largest(x: Tensor) -> Tensor:
    """The largest absolute value of each row: [...,in] -> [...,1]."""
    if x.numel() < MANY:
        return x.abs().amax(-1, keepdim=True)
    return torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_())


def attention_dtypes(precision: Precision, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """What attends to a source, and what a decoding step attends to its own past in.

    On processors, in a narrow copy: sources in bf16 where there are bf16 products (many queries or
    much to read), the past in float32, which torch's fused attention is faster in for the few
    queries of a step (benchmarks/speed).
    """
    if precision == "float32" or device.type != "cpu":
        return DTYPES[precision], DTYPES[precision]
    return (torch.bfloat16 if bf16_is_fast() else torch.float32), torch.float32


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [out,in] -> int8 values [out,in] and scale [out]; some rows at a time."""
    values = torch.empty(weight.shape, dtype=torch.int8)
    scale = torch.empty(len(weight), dtype=torch.float32)
    for start in range(0, len(weight), ROWS):
        some = weight.detach()[start : start + ROWS].float()
        scale[start : start + ROWS] = some.abs().amax(1).clamp_(min=TINY) / 127
        scaled = some / scale[start : start + ROWS, None]
        values[start : start + ROWS] = scaled.round_().to(torch.int8)
    return values, scale


@functools.cache
def int8_kernel(*, many: bool = False) -> type[Int8] | None:
    """The product that works with this processor and this torch, by trying; None for none.

    many: rows come by the hundreds, so that a processor's units for matrices have work.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return None
    kernels = (OneDnn, Fbgemm) if many and has("amx_int8") else (Fbgemm, OneDnn)
    with computing_on(1):
        return next((kernel for kernel in kernels if works(kernel)), None)


def works(kernel: type[Int8]) -> bool:
    """Whether a kernel multiplies small integers exactly."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-127, 128, (32, 64), generator=generator).to(torch.int8)
    x = torch.randint(-63, 64, (3, 64), generator=generator).float()
    x[:, 0] = 127 if vnni() else 63  # then every number of the row is one of its levels
    expected = x @ values.T.float()
    try:
        made = kernel(values, torch.ones(32))
        return torch.allclose(made(x), expected, rtol=1e-4, atol=0.1)
    except (RuntimeError, AttributeError):
        return False


@contextlib.contextmanager
def _engine(name: str) -> Iterator[None]:
    """torch packs weights for the engine that is set at the time."""
    before = torch.backends.quantized.engine
    if name not in torch.backends.quantized.supported_engines:
        raise RuntimeError(f"torch has no {name}")
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
