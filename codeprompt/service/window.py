"""How much one request may have in the engine's queue at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from codeprompt.check.questions import WINDOW
from codeprompt.errors import QueueFullError

if TYPE_CHECKING:
    from codeprompt.engine.queue import Place


class Window:
    """A long file, or a batch, does not fill the queue that others wait in.

    The requests of one batch share a window. size: places, held or in use.
    """

    def __init__(self, size: int = WINDOW) -> None:
        self.size, self.open = size, 0
        self._freed = asyncio.Event()

    async def hold(self, hold: Callable[[], Place]) -> Place:
        """A place of the queue, once there is room here.

        Where the queue is full, wait for our own to leave it. Raises `QueueFullError` where none
        of them is in there: then waiting would be without end.
        """
        while True:
            freed = self._freed
            if self.open < self.size:
                try:
                    place = hold()
                except QueueFullError:
                    if not self.open:
                        raise
                else:
                    self.open += 1
                    return place
            await freed.wait()

    def free(self) -> None:
        """One is answered, or needed no more."""
        self.open -= 1
        self._freed.set()
        self._freed = asyncio.Event()
