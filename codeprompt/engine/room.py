"""How many rows may be in the air: the urgent go over the limit, and leave the others a few."""

from __future__ import annotations

from collections.abc import Iterable

from codeprompt.engine.flight import ROWS
from codeprompt.engine.job import Job
from codeprompt.engine.work import urgent

BEAMS = 64
"""Beams of all rows: each has its own part of the caches."""
LEAST = 4
"""Rows that those in no hurry may always have: they wait their turn, but not for ever."""


class Room:
    """What is in the air, and what is about to be: (rows, beams) of the urgent, of the others."""

    def __init__(self, flying: Iterable[Job]) -> None:
        self.rows, self.beams = [0, 0], [0, 0]
        for job in flying:
            self.take(job, urgent(job))

    @property
    def hurry(self) -> bool:
        """Whether any of it is urgent."""
        return self.rows[True] > 0

    def take(self, job: Job, hurry: bool) -> None:
        """One more."""
        self.rows[hurry] += job.beams > 0
        self.beams[hurry] += job.beams

    def fits(self, job: Job, hurry: bool) -> bool:
        """Whether there is room for one more; there is always for a first one."""
        own, beams = self.rows[hurry] + (job.beams > 0), self.beams[hurry] + job.beams
        rows, all_beams = own + self.rows[not hurry], beams + self.beams[not hurry]
        more = 2 if hurry else 1
        if rows <= 1 or (rows <= more * ROWS and all_beams <= more * BEAMS):
            return True
        return not hurry and (own <= 1 or (own <= LEAST and beams <= LEAST * BEAMS // ROWS))
