"""How many of torch's threads compute, and where.

GNU's OpenMP, which torch brings, keeps a pool for every thread that computes in parallel. Once all
pools together hold more threads than there are cores, none waits awake between two products any
more, and every product begins with a wake-up: a step of twenty small ones takes twice as long. So
where many threads ask, one of them computes in parallel, and whatever others do is within
`computing_on(1)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

FOUND = torch.get_num_threads()
"""What torch chose for this machine, or was told before."""
WIDTH = 8 * 256**2
"""Numbers a product of rows [R,d] with a map [d,d] takes, from which on a second thread gains more
than its barriers cost: measured, 8 rows of 256 (docs/experiments.md, "Two pools of threads")."""


@contextmanager
def computing_on(count: int) -> Iterator[None]:
    """So many inside, of the calling thread; outside, those there were."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shared(rows: int, d_model: int) -> AbstractContextManager[None]:
    """One thread inside where a step of so many rows is not worth more. Takes microseconds."""
    return nullcontext() if rows * d_model**2 >= WIDTH else computing_on(1)
