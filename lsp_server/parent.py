"""Leave when the editor is gone: its end of the pipe may be held open by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 0.5


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


async def watch_parent(pid: int, leave: Callable[[], None]) -> None:
    """Call `leave` once the process is gone."""
    while is_alive(pid):
        await asyncio.sleep(SECONDS)
    leave()
