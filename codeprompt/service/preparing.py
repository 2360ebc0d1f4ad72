"""Parsing and rendering, off the event loop: what is most urgent first, long texts apart.

Two threads at most, started when they are needed. What waits for them has a place in an engine's
queue (`Engine.hold`), so there is never more of it than that.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")
LONG = 1 << 16
"""Bytes of code from which on a text waits among its like: parsing takes long enough to keep a
hover from its answer."""


class Lane:
    """One thread; the most urgent goes first, then the first to come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._waiting: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._numbers = count()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, priority: int, work: Callable[[], Result]) -> Future[Result]:
        """Have some work done; a cancelled future's is dropped where it has not begun."""
        future: Future[Result] = Future()
        with self._change:
            heapq.heappush(self._waiting, (priority, next(self._numbers), future, work))
            if self._thread is None:
                self._closed = False
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            self._change.notify()
        return future

    def close(self) -> None:
        """Let the thread end once nothing waits."""
        with self._change:
            self._closed, self._thread = True, None
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                _, _, future, work = heapq.heappop(self._waiting)
            do(future, work)
            del future, work  # the text goes with its request, not with the next one


def do(future: Future[Any], work: Callable[[], Any]) -> None:
    """Do some work for whoever waits, unless nobody does."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


class Preparing:
    """The two lanes, for coroutines."""

    def __init__(self) -> None:
        self.short, self.long = Lane("prepare"), Lane("prepare-long")

    async def __call__(self, priority: int, size: int, work: Callable[[], Result]) -> Result:
        """What the work gives. size: bytes of code it is about. Raises what the work raises."""
        lane = self.short if size <= LONG else self.long
        return await asyncio.wrap_future(lane.submit(priority, work))

    def close(self) -> None:
        """Let the threads end."""
        for lane in (self.short, self.long):
            lane.close()
