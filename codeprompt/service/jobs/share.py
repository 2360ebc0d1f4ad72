"""When the trainers give way: paused while requests are in flight, but never starved.

Time paused is paid from a credit that running earns back. Requests without end leave a job a tenth
of the time, in slices: of any `PERIOD` seconds it has at least `LEAST` of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LEAST = 0.1
PERIOD = 30.0
EARNS = (1 - LEAST) / LEAST
"""Seconds of pause that a second of running earns."""


class Share:
    """Whether to pause now; any thread may ask.

    clock: seconds, monotonic. The caller asks `paused` now and then and at every change.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.busy = clock, False
        self.most = PERIOD * (1 - LEAST)
        self._credit, self._at = self.most, clock()
        self._paused = self._owed = False
        self._lock = threading.Lock()

    def paused(self) -> bool:
        """Whether the trainers shall stand still from now on."""
        with self._lock:
            now = self.clock()
            passed, self._at = now - self._at, now
            self._credit += passed * (-1.0 if self._paused else EARNS)
            self._credit = min(self.most, max(0.0, self._credit))
            if self._credit == 0.0:
                self._owed = True
            elif self._credit == self.most:
                self._owed = False
            self._paused = self.busy and not self._owed
            return self._paused
