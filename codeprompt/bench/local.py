"""Worker processes on this machine: started, watched, started again where one was killed.

Each process claims cells of the folder by itself (`queue.py`), so several commands may share it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from codeprompt.bench.cell import Cell
from codeprompt.bench.store import RunFolder
from codeprompt.bench.work import failed
from codeprompt.bench.worker import Orders
from codeprompt.errors import CodepromptError
from codeprompt.waiting import ASLEEP

POLL_SECONDS = 0.3
DEATHS = 2
"""A cell whose worker died so often is written down as failed; others go on."""


@dataclass
class Workers:
    """Up to `jobs` processes over some cells of a folder.

    threads: of a process. isolate: a new process for every cell.
    """

    folder: RunFolder
    cells: Sequence[Cell]
    root: Path | None
    allow_hub: bool
    jobs: int
    threads: int
    isolate: bool = False
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)
    idle_deaths: int = 0

    def run(self, look: Callable[[], None]) -> None:
        """Until every cell has a result. look: called a few times a second (a board, a tracker).

        Raises `CodepromptError` where workers end before they begin a cell. An interrupt ends them.
        """
        try:
            while True:
                left = self._left()
                self._reap()
                if not left and not self.running:
                    return
                self._start(left)
                look()
                time.sleep(POLL_SECONDS)
        finally:
            self._end()

    def _left(self) -> list[Cell]:
        return [cell for cell in self.cells if not self.folder.has_result(cell.hash)]

    def _start(self, left: Sequence[Cell]) -> None:
        """As many workers as there are cells that can be begun now, and jobs."""
        told = self.folder.progress()
        held = {one.hash for one in told if one.pid in self._pids() or self._held(one.hash)}
        ready = [
            cell
            for cell in left
            if cell.hash not in held
            and (not cell.rates_from or self.folder.has_result(cell.rates_from))
        ]
        idle = len(self._pids() - {one.pid for one in told})  # they are about to take a cell each
        for _ in range(min(self.jobs - len(self.running), len(ready) - idle)):
            self.running.append(self._worker(left))

    def _held(self, hash: str) -> bool:
        """Whether another command runs the cell."""
        with self.folder.claim(hash) as free:
            return not free

    def _pids(self) -> set[int]:
        return {process.pid for process in self.running}

    def _worker(self, left: Sequence[Cell]) -> subprocess.Popen[bytes]:
        orders = Orders(
            folder=str(self.folder.path),
            cells=[cell.hash for cell in left],
            root=None if self.root is None else str(self.root),
            allow_hub=self.allow_hub,
            most=1 if self.isolate else None,
            parent=os.getpid(),
        )
        # Threads that sleep at a barrier: spinning ones stall each other on a shared machine.
        threads = {"OMP_NUM_THREADS": str(self.threads), **ASLEEP}
        with self._log().open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "codeprompt.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **threads},
            )
        assert process.stdin is not None
        _send(process.stdin, msgspec.json.encode(orders))
        return process

    def _log(self) -> Path:
        return self.folder.path / "running" / "workers.log"

    def _reap(self) -> None:
        """Take note of workers that have ended."""
        for process in [one for one in self.running if one.poll() is not None]:
            self.running.remove(process)
            if process.returncode:
                self._died(process)

    def _died(self, process: subprocess.Popen[bytes]) -> None:
        held = [one for one in self.folder.progress() if one.pid == process.pid]
        held = [one for one in held if not self.folder.has_result(one.hash)]
        if not held:
            self.idle_deaths += 1
            if self.idle_deaths >= DEATHS:
                raise CodepromptError(
                    f"A worker ended with status {process.returncode} before it began a cell",
                    do=f"Its last words: {self._last_words() or 'none'}",
                )
        for one in held:
            self.deaths[one.hash] = self.deaths.get(one.hash, 0) + 1
            if self.deaths[one.hash] < DEATHS:
                continue
            cell = next(cell for cell in self.cells if cell.hash == one.hash)
            with self.folder.claim(cell.hash) as ours:
                if ours and not self.folder.has_result(cell.hash):
                    self.folder.write_result(failed(cell, _reason(process.returncode)))

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log().read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def _end(self) -> None:
        """No worker outlives the command."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _reason(status: int) -> str:
    if status < 0:
        lack = " (memory may lack)" if status == -9 else ""
        return f"The process that ran this cell was ended by signal {-status}{lack}"
    return f"The process that ran this cell ended with status {status}"


def _send(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # it died at once: `_reap` says so
        pipe.write(data)
        pipe.close()
