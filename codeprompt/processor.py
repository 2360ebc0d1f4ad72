"""What the processor does natively, by torch's own account of it."""

from __future__ import annotations

import functools

import torch


@functools.cache
def has(name: str) -> bool:
    """Whether the processor has what torch calls so, as `amx_int8` or `avx512_vnni`."""
    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get(name))


def bf16_is_fast() -> bool:
    """Whether it multiplies bf16 natively (AVX512-BF16 or AMX)."""
    return has("avx512_bf16") or has("amx_bf16")


def vnni() -> bool:
    """Whether it sums products of 8-bit integers in 32 bits."""
    return has("avx512_vnni") or has("avx_vnni")
