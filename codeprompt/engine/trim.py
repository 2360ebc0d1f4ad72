"""glibc's memory: one heap for all threads, and what nothing uses given back to the system.

A heap for each thread, glibc's own way, keeps what one thread freed from the others: with the
engine's large and short-lived tensors that is half as much again as is ever in use.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

ARENA_MAX = -8
"""glibc's number for how many heaps there may be."""


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (OSError, AttributeError, TypeError):  # another C library, or none that can be asked
        return None


def one_heap() -> None:
    """For threads that start from now on, where the C library can."""
    library = _library()
    if library is not None:
        library.mallopt(ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free, where the C library can; takes some milliseconds."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)
