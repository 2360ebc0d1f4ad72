"""The newest request of a kind for a document wins; the ones before it come back empty-handed.

Passive features wait a moment before they ask the engine, longer where answers took long: a person
who types cancels most of them. What a person asks for waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

LEAST, MOST = 0.15, 1.0
SHARE = 0.5
"""Of how long an answer usually takes: so much is waited before the next one is asked for."""


class Superseded(Exception):
    """A newer request of the same kind for the same document has come."""


class Latest:
    """Turns by key, usually (feature, URI)."""

    def __init__(self) -> None:
        self._turns: dict[Any, int] = {}
        self._usual: dict[Any, float] = {}
        self._newer: dict[Any, asyncio.Event] = {}

    def pause(self, key: Any) -> float:
        """Seconds that a request waits."""
        return min(MOST, max(LEAST, SHARE * self._usual.get(key[0], 0.0)))

    def current(self, key: Any, turn: int) -> bool:
        """Whether no newer one has come."""
        return self._turns.get(key) == turn

    def take(self, key: Any) -> int:
        """A turn; whoever had one before is superseded."""
        turn = self._turns.get(key, 0) + 1
        self._turns[key] = turn
        event = self._newer.pop(key, None)
        if event is not None:
            event.set()
        return turn

    @asynccontextmanager
    async def turn(self, key: Any, *, wait: bool = True) -> AsyncIterator[int]:
        """Wait, then measure what is inside. Raises `Superseded` where a newer one comes first."""
        turn = self.take(key)
        newer = self._newer[key] = asyncio.Event()
        if wait:
            try:
                await asyncio.wait_for(newer.wait(), self.pause(key))
                raise Superseded
            except TimeoutError:
                pass
        began = time.monotonic()
        try:
            yield turn
        finally:
            took = time.monotonic() - began
            self._usual[key[0]] = 0.7 * self._usual.get(key[0], took) + 0.3 * took
            if self.current(key, turn):
                self._newer.pop(key, None)
