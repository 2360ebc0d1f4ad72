"""How fast the engine answers: what tells whether a new request could be there in time."""

from __future__ import annotations

from codeprompt.engine.request import Priority

FIRST = 0.1
"""Seconds a request before any was answered; then what was measured."""
MARGIN = 1.25
"""On the wait that is foreseen: an answer that comes too late was computed for nothing."""
HALF_LIFE = 5.0
"""Seconds in which what was measured counts half as much: where everything was refused for it,
nothing would ever measure it anew."""


class Recently:
    """A mean over the last few values, that fades."""

    def __init__(self) -> None:
        self._value, self._at = 0.0, 0.0

    def add(self, value: float, now: float, otherwise: float = 0.0) -> None:
        """One more. otherwise: what nobody measured counts as."""
        seen = self.mean(now, otherwise)
        self._value, self._at = seen + 0.2 * (value - seen), now

    def mean(self, now: float, otherwise: float = 0.0) -> float:
        """The mean; the older, the nearer to `otherwise`."""
        fresh = float(0.5 ** (max(0.0, now - self._at) / HALF_LIFE)) if self._value else 0.0
        return fresh * self._value + (1.0 - fresh) * otherwise


class Pace:
    """seconds: of work an answer, the recent ones counting most."""

    def __init__(self) -> None:
        self.seconds = FIRST
        self._since = 0.0
        self._air = Recently()
        self._places = {priority: Recently() for priority in Priority}

    def worked(self, seconds: float, answered: int) -> None:
        """So long was worked, and so many answers came of it."""
        self._since += seconds
        if answered:
            keep = 0.9**answered
            self.seconds = keep * self.seconds + (1 - keep) * self._since / answered
            self._since = 0.0

    def flew(self, seconds: float, now: float) -> None:
        """An urgent answer took so long from its admission."""
        self._air.add(seconds, now)

    def waited(self, priority: Priority, seconds: float, ahead: int, now: float) -> None:
        """One with so many before it was admitted after so long, or left by then.

        That is longer than the work on those before it: who is more urgent comes later, and still
        goes first.
        """
        if ahead:
            self._places[priority].add(seconds / ahead, now, self.seconds)

    def takes(self, priority: Priority, ahead: int, now: float) -> float:
        """Seconds until an answer is there, with so many before it; 0 with none."""
        if not ahead:
            return 0.0
        return MARGIN * ahead * self.place(priority, now) + self._air.mean(now)

    def place(self, priority: Priority, now: float) -> float:
        """Seconds that each one ahead costs."""
        return self._places[priority].mean(now, self.seconds)
