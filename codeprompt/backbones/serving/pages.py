"""Memory for what decoding keeps between steps: pages of its own, not the heap's.

Caches are large, live long and change their size, while the heap serves temporaries that live for a
product: between them it tears into holes, and an engine under load grows by the minute. Pages of
its own go back to the system with the tensor, and those that nothing was written to cost nothing.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1 << 18
"""Bytes from which pages are worth a call to the system."""


def laid_out(shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor whose numbers are still to be written, where `like` is."""
    count = math.prod(shape)
    size = count * dtype.itemsize
    if like.device.type != "cpu" or size < LEAST:
        return like.new_empty(shape, dtype=dtype)
    return torch.frombuffer(_pages(size), dtype=dtype, count=count).view(*shape)


def _pages(size: int) -> mmap.mmap:
    """Private to this process: it keeps nothing on a disk, and no child writes to it."""
    if hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)  # Windows
