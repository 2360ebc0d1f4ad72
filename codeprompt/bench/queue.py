"""A folder's cells, one after the other: claim one, run it, write its result.

Any number of processes may do this on one folder at once, whoever started them.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codeprompt.bench.cell import Cell
from codeprompt.bench.place import Place
from codeprompt.bench.results import CellResult
from codeprompt.bench.store import Progress, RunFolder
from codeprompt.bench.work import attempt, failed

ATTEMPTS = 3
"""A cell during which the process ended so often is not begun again."""
TELL_SECONDS = 1.0
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Queue:
    """Cells of one folder to be worked through.

    alive: asked before and during each cell; once it says no, work ends (the parent has gone).
    """

    folder: RunFolder
    cells: Sequence[Cell]
    root: Path | None = None
    allow_hub: bool = True
    alive: Callable[[], bool] = lambda: True

    def work(self, most: int | None = None, wait: bool = False) -> int:
        """Run what is missing; returns how many cells were run.

        most: so many at most. wait: until others have ended what they hold, too.
        """
        count = 0
        while self.alive():
            held = False
            for cell in self.cells:
                if most is not None and count >= most:
                    return count
                if not self.alive() or self.folder.has_result(cell.hash):
                    continue
                if cell.rates_from and not self.folder.has_result(cell.rates_from):
                    held = True
                    continue
                with self.folder.claim(cell.hash) as ours:
                    if not ours:
                        held = True
                    elif not self.folder.has_result(cell.hash):
                        self.run(cell)
                        count += 1
                        break  # what a dependent waited for may be there now: from the top again
            else:
                if not (held and wait):
                    return count
                time.sleep(WAIT_SECONDS)
        return count

    def run(self, cell: Cell) -> CellResult:
        """Run one cell that is claimed, and write what it gave."""
        teller = _Teller(self, cell, self._attempts(cell.hash))
        if teller.attempts > ATTEMPTS:
            result = failed(
                cell, f"The process ended {ATTEMPTS} times while it ran this cell; memory may lack"
            )
            self.folder.write_result(result)
            return result
        place = place_of(cell, self.folder, self.root, self.allow_hub)
        if isinstance(place, str):
            result = failed(cell, place)
            self.folder.write_result(result)
            return result
        teller(0.0, "begins")
        done = attempt(cell, replace(place, tell=teller))
        self.folder.write_result(done.result, done.items)
        return done.result

    def _attempts(self, hash: str) -> int:
        """How often the cell was begun and not ended, and once more."""
        before = [one.attempts for one in self.folder.progress() if one.hash == hash]
        return 1 + max(before, default=0)


def place_of(cell: Cell, folder: RunFolder, root: Path | None, allow_hub: bool) -> Place | str:
    """What a cell is given to be run with; why it cannot be, where its rate was never chosen."""
    rate: float | None = None
    if cell.rates_from:
        source = folder.result(cell.rates_from)
        if source is None or source.status == "failed":
            return f"The cell {cell.rates_from}, which chooses the learning rate, failed"
        rate = source.rate
    report = folder.data_reports().get(cell.data.name)
    overlapping: Mapping[str, Mapping[str, str]] = report.overlapping if report else {}
    return Place(root, folder.path / "partial" / cell.hash, allow_hub, overlapping, rate)


class _Teller:
    """Writes how far a cell is, now and then; ends the work where nobody waits for it."""

    def __init__(self, queue: Queue, cell: Cell, attempts: int) -> None:
        self.queue, self.cell, self.attempts = queue, cell, attempts
        self.started, self.told = time.time(), 0.0

    def __call__(self, share: float, doing: str) -> None:
        if not self.queue.alive():
            raise SystemExit(1)
        if share and time.monotonic() - self.told < TELL_SECONDS:
            return
        self.told = time.monotonic()
        self.queue.folder.say_progress(
            Progress(
                hash=self.cell.hash,
                label=self.cell.label,
                pid=os.getpid(),
                host=socket.gethostname(),
                started=self.started,
                attempts=self.attempts,
                share=share,
                doing=doing,
            )
        )
