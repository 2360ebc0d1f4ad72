"""Pages of a mapped checkpoint, given back as its tensors are used up.

A checkpoint is mapped, not read, so what was read of it counts as the process's memory until the
last of its tensors goes. While a copy is made in another format, that is the whole of it beside the
copy. What is given back can be read from the file again: nothing is lost, whoever else holds it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # listing backbones reads this file, and must not import torch
    from torch import Tensor

DONTNEED = 4
"""Linux's number for `madvise`."""
ROWS = 2048
"""Of a matrix copied at a time."""


class Pages:
    """The files that this process has mapped at the moment this is made; none but on Linux."""

    def __init__(self) -> None:
        self.mapped = _mapped()
        self._library = ctypes.CDLL(None, use_errno=True) if self.mapped else None

    def let_go(self, tensor: Tensor) -> None:
        """Give back the pages that hold a tensor alone, if it lies in a mapped file.

        tensor: as it was read; what was written into it would be lost.
        """
        if self._library is None or tensor.device.type != "cpu" or not tensor.is_contiguous():
            return
        page, begin = mmap.PAGESIZE, tensor.data_ptr()
        end = begin + tensor.numel() * tensor.element_size()
        if not any(first <= begin and end <= last for first, last in self.mapped):
            return
        begin, end = -(-begin // page) * page, end // page * page
        if begin < end:
            self._library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), DONTNEED)

    def moved(self, tensor: Tensor) -> Tensor:
        """A copy that lies in no file; pages are given back as they are read."""
        copy = tensor.new_empty(tensor.shape)
        if tensor.dim() < 2 or not tensor.is_contiguous():
            return copy.copy_(tensor)
        for start in range(0, len(tensor), ROWS):
            copy[start : start + ROWS] = tensor[start : start + ROWS]
            self.let_go(tensor[start : start + ROWS])
        return copy


def _mapped() -> list[tuple[int, int]]:
    """Addresses of safetensors files: (first, last + 1)."""
    if not sys.platform.startswith("linux"):
        return []
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = (line.partition(" ")[0].split("-") for line in lines if line.endswith(".safetensors"))
    return [(int(first, 16), int(last, 16)) for first, last in found]
