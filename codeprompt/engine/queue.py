"""What waits: by priority, then a turn for each client, then first come; bounded for all and each.

Each priority has places of its own, so that no other can fill the queue against it, and the rest is
for whoever comes first, the less urgent finding less of it. The less urgent goes first now and
then, so that it comes to its turn however much of the more urgent there is.

A place may be held before there is a job for it: a request is refused before anything is made of
its text. Not safe for threads by itself: the scheduler's lock guards it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from codeprompt.engine.job import Job
from codeprompt.engine.pace import Pace
from codeprompt.engine.request import Priority
from codeprompt.errors import QueueFullError

OWN = {
    Priority.EXPLICIT: 0.1,
    Priority.HOVER: 0.05,
    Priority.DIAGNOSTICS: 0.03,
    Priority.BATCH: 0.05,
    Priority.TRAINING: 0.02,
}
"""Of the queue: what no other priority takes."""
ROOM = {
    Priority.EXPLICIT: 1.0,
    Priority.HOVER: 1.0,
    Priority.DIAGNOSTICS: 0.9,
    Priority.BATCH: 0.75,
    Priority.TRAINING: 0.5,
}
"""How full the rest may be before a priority is refused: who is in a hurry finds room."""
SHARE = 0.5
"""Of the queue for one client."""
LONGEST = 300.0
"""Seconds that a job without a deadline may expect to wait: clients give up not long after."""
PATIENCE = {
    Priority.HOVER: 8,
    Priority.DIAGNOSTICS: 16,
    Priority.BATCH: 16,
    Priority.TRAINING: 32,
}
"""How many of the more urgent may go before one that waits."""


@dataclass(eq=False)
class Place:
    """A place in the queue, of a job or for one to come. since: when it was taken; ahead: of it."""

    priority: Priority
    client: str
    since: float
    ahead: int


class Queue:
    """size: how many jobs may wait."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pace = Pace()
        self.clients: Counter[str] = Counter()
        self._own = {priority: int(size * share) for priority, share in OWN.items()}
        self._rest = size - sum(self._own.values())
        self._lines: dict[Priority, OrderedDict[str, deque[Job]]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._mine: dict[Priority, Counter[str]] = {priority: Counter() for priority in Priority}
        self._places: dict[Job, Place] = {}
        self._held: set[Place] = set()
        self._passed: Counter[Priority] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, job: Job) -> bool:
        return job in self._places

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._places))

    @property
    def taken(self) -> int:
        """Places that jobs have, and that are held for them."""
        return len(self._places) + len(self._held)

    def put(self, job: Job, *, now: float, place: Place | None = None) -> None:
        """Raises `QueueFullError` where there is no room, or no time for what is ahead.

        place: one that was held for it, where nothing is refused any more.
        """
        if place is None or place not in self._held:
            waiter = job.waiters[0]
            place = self._checked(job.priority, waiter.client, waiter.deadline, now)
        else:
            self.let_go(place)
        self._insert(job, replace(place, priority=job.priority))

    def hold(self, priority: Priority, client: str, deadline: float | None, now: float) -> Place:
        """A place for a job to come. Raises as `put` does."""
        place = self._checked(priority, client, deadline, now)
        self._held.add(place)
        self._count(place, 1)
        return place

    def let_go(self, place: Place) -> None:
        """Give a held place back; nothing where it was used or given back before."""
        if place in self._held:
            self._held.remove(place)
            self._count(place, -1)

    def ahead(self, priority: Priority, client: str) -> int:
        """How many would go before a new job of a client: the clients of a priority take turns."""
        before = sum(self._mine[p].total() for p in Priority if p < priority)
        mine = self._mine[priority][client]
        return before + sum(
            mine if other == client else min(count, mine + 1)
            for other, count in self._mine[priority].items()
        )

    def first(self, shut: Collection[bool] = ()) -> Job | None:
        """Whose turn it is. shut: out of the urgent (True) and the others (False), who waits."""
        waiting = [p for p, line in self._lines.items() if line and p.urgent not in shut]
        if not waiting:
            return None
        owed = [p for p in waiting if self._due(p) >= 1.0]
        line = self._lines[max(owed, key=self._due) if owed else waiting[0]]
        return next(iter(line.values()))[0]

    def urgent(self, job: Job) -> bool:
        """Whether a job waits among the urgent."""
        return self._places[job].priority.urgent

    def take(self, job: Job, now: float) -> None:
        """Let `first` go; its client is the last of its priority then."""
        place = self._places[job]
        self.remove(job, now)
        line = self._lines[place.priority]
        if place.client in line:
            line.move_to_end(place.client)
        for priority, other in self._lines.items():
            if other and priority > place.priority:
                self._passed[priority] += 1
        del self._passed[place.priority]

    def remove(self, job: Job, now: float | None = None) -> None:
        """A job that is taken, that nobody wants any more, or that goes to another place.

        now: where its waiting tells what a place ahead costs.
        """
        place = self._places.pop(job)
        if now is not None:
            self.pace.waited(place.priority, now - place.since, place.ahead, now)
        line = self._lines[place.priority]
        line[place.client].remove(job)
        if not line[place.client]:
            del line[place.client]
        if not line:
            del self._passed[place.priority]
        self._count(place, -1)

    def moved(self, job: Job) -> None:
        """Someone more urgent may wait for it by now, or someone less urgent alone."""
        place = self._places[job]
        if place.priority != job.priority:
            self.remove(job)
            ahead = self.ahead(job.priority, place.client)
            self._insert(job, replace(place, priority=job.priority, ahead=ahead))

    def _checked(
        self, priority: Priority, client: str, deadline: float | None, now: float
    ) -> Place:
        """A place that may be taken."""
        seconds, mine = self.pace.seconds, self._mine[priority].total()
        rest = max(1, int(self._rest * ROOM[priority]))
        if mine >= self._own[priority] and self._of_the_rest() >= rest:
            raise QueueFullError(self.taken, self.taken * seconds)
        own = self.clients[client]
        if own >= max(1, int(self.size * SHARE)):
            raise QueueFullError(own, own * seconds)
        ahead = self.ahead(priority, client)
        takes = self.pace.takes(priority, ahead, now)
        latest = now + LONGEST if deadline is None else deadline
        if now + takes > latest > now:
            raise QueueFullError(self.taken, ahead * self.pace.place(priority, now))
        return Place(priority, client, now, ahead)

    def _of_the_rest(self) -> int:
        return sum(max(0, self._mine[p].total() - own) for p, own in self._own.items())

    def _due(self, priority: Priority) -> float:
        """1 and more: others have gone first for long enough."""
        return self._passed[priority] / PATIENCE.get(priority, 1)

    def _insert(self, job: Job, place: Place) -> None:
        self._places[job] = place
        self._lines[place.priority].setdefault(place.client, deque()).append(job)
        self._count(place, 1)

    def _count(self, place: Place, more: int) -> None:
        for counter in (self.clients, self._mine[place.priority]):
            counter[place.client] += more
            if not counter[place.client]:
                del counter[place.client]
