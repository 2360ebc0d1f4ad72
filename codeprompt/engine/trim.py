"""Give memory that nothing uses back to the system: glibc keeps what was freed between others."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _call() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or none that can be asked
        return None
    return found


def trim() -> None:
    """Where the C library can; takes some milliseconds."""
    call = _call()
    if call is not None:
        call(0)
