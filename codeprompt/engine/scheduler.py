"""Who is admitted when: one thread, one turn after the other.

A turn lets go what nobody wants any more, admits what fits, and takes a step. Admission goes in the
queue's order: by priority, between clients in turn, then by arrival. `EXPLICIT` and `HOVER` go
ahead even when the flights are full, and others pause for them, but for one turn in eight (see
`Work.step`) and a few rows (`Room`). Equal jobs are computed once.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import torch

from codeprompt.engine.job import Job, Outcome, Waiter
from codeprompt.engine.queue import Place, Queue
from codeprompt.engine.request import Priority
from codeprompt.engine.room import Room
from codeprompt.engine.trim import trim
from codeprompt.engine.work import Work
from codeprompt.errors import DeadlineError, EngineError
from codeprompt.types import Prediction

REST, UNREST = 1.0, 10.0
"""Seconds without work, and without a rest, after which memory that nothing uses is given back."""


class Scheduler:
    """waiting: jobs that may wait. clock: seconds that only grow.

    threads: torch's, for the turns; None leaves them. threaded: False leaves the turns to the
    caller, for tests.
    """

    def __init__(
        self,
        waiting: int,
        *,
        threads: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        threaded: bool = True,
    ) -> None:
        self.queue, self.work, self.clock, self.threaded = Queue(waiting), Work(), clock, threaded
        self.busy, self.threads = threading.Lock(), threads
        self.answered = 0
        self._known: dict[str, Job] = {}
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._halted = False

    def hold(self, priority: Priority, client: str, deadline: float | None) -> Place:
        """A place for a job to come. Raises `QueueFullError`."""
        with self._change:
            return self.queue.hold(priority, client, deadline, self.clock())

    def let_go(self, place: Place) -> None:
        """A place that is not needed any more."""
        with self._change:
            self.queue.let_go(place)

    def submit(self, job: Job, waiter: Waiter, place: Place | None = None) -> Future[Prediction]:
        """Queue a job, or wait for an equal one. Raises `QueueFullError`, `EngineError`.

        place: one that was held for it.
        """
        with self._change:
            if self._closed:
                raise EngineError("The engine is closed", do="Make a new one")
            known = self._known.get(job.key)
            if known is not None:
                known.waiters.append(waiter)
                if known in self.queue:
                    self.queue.moved(known)
                return waiter.future
            job.waiters.append(waiter)
            self.queue.put(job, now=self.clock(), place=place)
            self._known[job.key] = job
            if self.threaded and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()
                atexit.register(_halt, weakref.ref(self))
            self._change.notify()
        return waiter.future

    def close(self) -> None:
        """Take nothing more, answer what waits, then stop."""
        with self._change:
            self._closed = True
            self._change.notify()
            thread = self._thread
        self._join(thread)

    def halt(self) -> None:
        """Stop after this turn, whatever waits."""
        with self._change:
            self._closed = self._halted = True
            self._change.notify()
            thread = self._thread
        self._join(thread)

    def _join(self, thread: threading.Thread | None) -> None:
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @torch.inference_mode()
    def turn(self) -> None:
        """Let go, admit, step; all answers that come of it are given."""
        began, before = self.clock(), self.answered
        self._sweep()
        jobs = self._admitted()
        for job in jobs:
            job.began = began
        for job, outcome in self.work.admit(jobs):
            self._finish(job, outcome)
        for job, outcome in self.work.step():
            self._finish(job, outcome)
        for job, text in self.work.news():
            for waiter in list(job.waiters):
                error = waiter.tell(text)
                if error is not None:
                    self._release(job, waiter, error)
        self.queue.pace.worked(self.clock() - began, self.answered - before)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.queue and not self.work.flights

    def stats(self) -> dict[str, int]:
        """What waits, what computes, and what was done so far."""
        return {
            "waiting": len(self.queue),
            "computing": sum(1 for _ in self.work.jobs()),
            "tokens": self.work.tokens,
            "answered": self.answered,
        }

    def _run(self) -> None:
        if self.threads is not None:  # a number of this thread alone
            torch.set_num_threads(self.threads)
        rested, trimmed = False, time.monotonic()
        while True:
            with self._change:
                patience = None if rested else REST
                woken = self._change.wait_for(lambda: not self.idle or self._closed, patience)
                if woken and (self.idle or self._halted):
                    return
            rested = not woken
            if rested or time.monotonic() - trimmed > UNREST:
                trim()
                trimmed = time.monotonic()
            if rested:
                continue
            with self.busy:
                try:
                    self.turn()
                except Exception as error:  # not one job's fault: tell all it may concern
                    self._fail(error)

    def _sweep(self) -> None:
        """Waiters that gave up, were stopped or are too late; then jobs that nobody waits for."""
        now = self.clock()
        with self._change:
            waiting, flying = list(self.queue), list(self.work.jobs())
        late = {job for job in waiting if self._look(job, now, job.loaded.soonest)}
        for job in flying:
            if self._look(job, now, 0.0) and job.began is not None:
                self.queue.pace.flew(now - job.began, now)
        dropped = set()
        with self._change:
            for job in (*waiting, *flying):
                if not job.waiters and self._known.get(job.key) is job:
                    del self._known[job.key]
                    dropped.add(job)
                    if job in self.queue:
                        self.queue.remove(job, now if job in late else None)
                elif job in self.queue:
                    self.queue.moved(job)
        if dropped:
            self.work.drop(dropped.__contains__)

    def _look(self, job: Job, now: float, least: float) -> bool:
        """Let go who waits no more; whether it was too late for one of them."""
        late = False
        for waiter in list(job.waiters):
            error = waiter.lost(now, least)
            if error is not None:
                self._release(job, waiter, error)
                late = late or isinstance(error, DeadlineError)
        return late

    def _release(self, job: Job, waiter: Waiter, error: Exception) -> None:
        with self._change:
            if waiter in job.waiters:
                job.waiters.remove(waiter)
        waiter.settle(error)

    def _admitted(self) -> list[Job]:
        """What this turn encodes: in the queue's order, for as long as it fits."""
        room, shut = Room(self.work.jobs()), set[bool]()
        now, tokens, out = self.clock(), 0, list[Job]()
        with self._change:
            while True:
                if room.hurry and not self.work.background_turn:
                    shut.add(False)
                job = self.queue.first(shut)
                if job is None:
                    return out
                hurry, tokens = self.queue.urgent(job), tokens + job.length
                if not room.fits(job, hurry):
                    shut.add(hurry)
                    tokens -= job.length
                    continue
                if out and tokens > self.work.tokens_a_turn:
                    return out
                room.take(job, hurry)
                self.queue.take(job, now)
                out.append(job)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        with self._change:
            if self._known.get(job.key) is job:
                del self._known[job.key]
            hurry = job.priority.urgent
            waiters, job.waiters = job.waiters, []
        if isinstance(outcome, Prediction) and job.began is not None:
            now = self.clock()
            job.loaded.took(now - job.began)
            if hurry:
                self.queue.pace.flew(now - job.began, now)
        self.answered += 1
        for waiter in waiters:
            waiter.settle(outcome)

    def _fail(self, error: Exception) -> None:
        with self._change:
            jobs = list(self._known.values())
            for job in [job for job in jobs if job in self.queue]:
                self.queue.remove(job)
        self.work = Work()
        for job in jobs:
            self._finish(job, error)


def _halt(made: weakref.ref[Scheduler]) -> None:
    """At the interpreter's end: a thread that is within torch then would end the process hard."""
    scheduler = made()
    if scheduler is not None:
        scheduler.halt()
