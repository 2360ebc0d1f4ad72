"""What waits: by priority, then a turn for each client, then first come; bounded for all and each.

Not safe for threads by itself: the scheduler's lock guards it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

from codeprompt.engine.job import Job
from codeprompt.engine.request import Priority
from codeprompt.errors import QueueFullError

FIRST_PACE = 0.1
"""Seconds a request before any was answered; then what was measured."""
ROOM = {
    Priority.EXPLICIT: 1.0,
    Priority.HOVER: 1.0,
    Priority.DIAGNOSTICS: 0.9,
    Priority.BATCH: 0.75,
    Priority.TRAINING: 0.75,
}
"""How full the queue may be before a priority is refused: who is in a hurry finds room."""
SHARE = 0.5
"""Of the queue for one client."""


class Pace:
    """Seconds a request while there is work, the recent ones counting most."""

    def __init__(self) -> None:
        self.seconds = FIRST_PACE
        self._since = 0.0

    def worked(self, seconds: float, answered: int) -> None:
        """So long was worked, and so many answers came of it."""
        self._since += seconds
        if answered:
            keep = 0.8**answered
            self.seconds = keep * self.seconds + (1 - keep) * self._since / answered
            self._since = 0.0


class Queue:
    """size: how many jobs may wait."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pace = Pace()
        self.clients: Counter[str] = Counter()
        self._lines: dict[Priority, OrderedDict[str, deque[Job]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._places: dict[Job, tuple[Priority, str]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, job: Job) -> bool:
        return job in self._places

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._places))

    def put(self, job: Job, *, now: float) -> None:
        """Raises `QueueFullError` where there is no room, or no time for what is ahead."""
        client, priority = job.waiters[0].client, job.priority
        waiting, seconds = len(self), self.pace.seconds
        if waiting >= max(1, int(self.size * ROOM[priority])):
            raise QueueFullError(waiting, waiting * seconds)
        own = self.clients[client]
        if own >= max(1, int(self.size * SHARE)):
            raise QueueFullError(own, own * seconds)
        deadline, ahead = job.waiters[0].deadline, self.ahead(priority) * seconds
        if deadline is not None and ahead > 0.0 and now + ahead > deadline > now:
            raise QueueFullError(waiting, ahead)
        self._insert(job)

    def ahead(self, priority: Priority) -> int:
        """How many would go before a new job of that priority."""
        return sum(place <= priority for place, _ in self._places.values())

    def first(self) -> Job | None:
        """Whose turn it is."""
        for line in self._lines.values():
            for jobs in line.values():
                return jobs[0]
        return None

    def take(self, job: Job) -> None:
        """Let `first` go; its client is the last of its priority then."""
        priority, client = self._places[job]
        self.remove(job)
        line = self._lines[priority]
        if client in line:
            line.move_to_end(client)

    def remove(self, job: Job) -> None:
        """A job that nobody wants any more, or that goes to another place."""
        priority, client = self._places.pop(job)
        line = self._lines[priority]
        line[client].remove(job)
        self.clients[client] -= 1
        if not line[client]:
            del line[client]
        if not self.clients[client]:
            del self.clients[client]

    def moved(self, job: Job) -> None:
        """Someone more urgent may wait for it by now."""
        if self._places[job][0] != job.priority:
            client = self._places[job][1]
            self.remove(job)
            self._insert(job, client)

    def _insert(self, job: Job, client: str | None = None) -> None:
        client = job.waiters[0].client if client is None else client
        priority = job.priority
        self._places[job] = priority, client
        self._lines[priority].setdefault(client, deque()).append(job)
        self.clients[client] += 1
