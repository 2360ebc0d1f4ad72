"""What a run shows while it goes on: a live board on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psutil

from codeprompt.bench.plan import Plan
from codeprompt.bench.store import Progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

QUIET_SECONDS = 20.0
"""Without a terminal, a line at least this far from the one before."""
ROWS = 12
SURE = 0.03
"""The share of the work after which a run's own pace counts for more than the estimate."""


class Board(AbstractContextManager["Board"]):
    """The state of a folder's asked cells, read from the folder itself: other commands' too.

    each: seconds that missing cells are thought to take, by hash.
    """

    def __init__(
        self, plan: Plan, console: Console, jobs: int, each: Mapping[str, float] | None = None
    ) -> None:
        self.plan, self.console, self.jobs, self.each = plan, console, max(1, jobs), each or {}
        self.started = time.monotonic()
        self.first = self.ended()
        self.told, self.said = self.started, self.first
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            from rich.live import Live

            self.live = Live(
                console=self.console, refresh_per_second=4, transient=True, redirect_stdout=False
            )
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def ended(self) -> int:
        """Asked cells with a result."""
        return sum(self.plan.folder.has_result(cell.hash) for cell in self.plan.asked)

    def look(self) -> None:
        """Show the state as it is now."""
        if self.live is not None:
            self.live.update(self.drawn())
        elif time.monotonic() - self.told > QUIET_SECONDS:
            self.told = time.monotonic()
            self.console.print(self.line(), markup=False, highlight=False, soft_wrap=True)

    def line(self) -> str:
        """One line: done, running, time left."""
        done, total = self.ended(), len(self.plan.asked)
        running = "; ".join(f"{one.label}: {one.doing}" for one in self._running()[:3])
        parts = [f"{done} of {total} cells", running, f"{self.left()} left"]
        return ", ".join(part for part in parts if part)

    def left(self) -> str:
        """The time left: what missing cells should take, as fast as this run has been so far."""
        folder = self.plan.folder
        shares = {one.hash: one.share for one in folder.progress()}
        whole = sum(self.each.values())
        todo = sum(
            seconds * (1 - shares.get(hash, 0.0))
            for hash, seconds in self.each.items()
            if not folder.has_result(hash)
        )
        if not whole:
            return "?"
        spent, worked = (time.monotonic() - self.started) * self.jobs, whole - todo
        pace = spent / worked if worked > SURE * whole else 1.0
        return spoken(todo * pace / self.jobs)

    def _running(self) -> list[Shown]:
        return [
            Shown(one.label, one.share, one.doing, time.time() - one.started)
            for one in self.plan.folder.progress()
            if not self.plan.folder.has_result(one.hash) and _lives(one)
        ]

    def drawn(self) -> RenderableType:
        """The board: totals, then what runs."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        done, total = self.ended(), len(self.plan.asked)
        head = Table.grid(padding=(0, 1))
        spent = spoken(time.monotonic() - self.started)
        head.add_row(
            Text(self.plan.suite.name, style="bold"),
            ProgressBar(total=total, completed=done, width=32),
            f"{done}/{total} cells",
            f"{spent}, {self.left()} left",
        )
        body = Table.grid(padding=(0, 1))
        for one in self._running()[:ROWS]:
            body.add_row(
                Text(one.label),
                ProgressBar(total=1.0, completed=one.share, width=16),
                Text(one.doing, style="dim"),
                spoken(one.seconds),
            )
        return Group(head, body)


def _lives(one: Progress) -> bool:
    """Whether its process is there; of another machine's we cannot know."""
    return one.host != socket.gethostname() or psutil.pid_exists(one.pid)


class Shown:
    """A cell that runs."""

    def __init__(self, label: str, share: float, doing: str, seconds: float) -> None:
        self.label, self.share, self.doing, self.seconds = label, share, doing, seconds


def spoken(seconds: float) -> str:
    """Seconds as people read them: 42 s, 3 min, 1 h 20 min, 2 d 4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
