"""The engine's queue: bounded, answered by one thread that takes what waits as a batch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from codeprompt.errors import EngineError, QueueFullError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
FIRST_PACE = 0.1
"""Seconds a request before any was answered; then what was measured."""


@dataclass(frozen=True)
class Ticket(Generic[Asked, Answer]):
    """What is asked, and where the answer goes."""

    asked: Asked
    future: Future[Answer] = field(default_factory=Future)


class Waiting(Generic[Asked, Answer]):
    """Requests that wait, and the thread that answers them.

    answer: many requests to as many answers. A batch that fails is halved until the request that
    fails stands alone: only its own future gets the error.
    size: how many may wait. rows: how many are taken at once.
    """

    def __init__(
        self, answer: Callable[[list[Asked]], list[Answer]], *, size: int, rows: int
    ) -> None:
        self.answer, self.size, self.rows = answer, size, rows
        self.pace = FIRST_PACE
        self._tickets: deque[Ticket[Asked, Answer]] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, asked: Asked) -> Future[Answer]:
        """Queue a request. Raises `QueueFullError`, or `EngineError` after `close`."""
        with self._change:
            if self._closed:
                raise EngineError("The engine is closed", do="Make a new one")
            if len(self._tickets) >= self.size:
                raise QueueFullError(len(self._tickets), len(self._tickets) * self.pace)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            ticket: Ticket[Asked, Answer] = Ticket(asked)
            self._tickets.append(ticket)
            self._change.notify()
            return ticket.future

    def close(self) -> None:
        """Take nothing more, answer what waits, then stop."""
        with self._change:
            self._closed = True
            self._change.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._tickets or self._closed)
                if not self._tickets:
                    return
                count = min(self.rows, len(self._tickets))
                taken = [self._tickets.popleft() for _ in range(count)]
            live = [ticket for ticket in taken if ticket.future.set_running_or_notify_cancel()]
            if live:
                began = time.monotonic()
                self._settle(live)
                self.pace += 0.2 * ((time.monotonic() - began) / len(live) - self.pace)

    def _settle(self, live: list[Ticket[Asked, Answer]]) -> None:
        try:
            found = self.answer([ticket.asked for ticket in live])
        except Exception as error:
            if len(live) == 1:
                live[0].future.set_exception(error)
                return
            half = len(live) // 2
            self._settle(live[:half])
            self._settle(live[half:])
            return
        for ticket, answer in zip(live, found, strict=True):
            ticket.future.set_result(answer)
