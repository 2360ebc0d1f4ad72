"""One trainer process as its supervisor holds it: started, paused, watched, stopped.

It runs below every other process (nice 19), on the cores it was given, and is ended with a reason
when it takes more memory than it may. A limit on address space would not do: torch reserves far
more than it uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from codeprompt.errors import CodepromptError, TrainingError
from codeprompt.service.jobs.events import read_failure
from codeprompt.waiting import ASLEEP

TICK = 0.25
GRACE_SECONDS = 15.0
"""For a checkpoint, once asked to stop."""
SPEC = "spec.json"
PID = "pid"
"""What the trainer writes once it is bound to us: its process id, and when it was made."""
POSIX = os.name == "posix"


@dataclass(frozen=True)
class End:
    """How a trainer ended: with a pack, stopped as it was asked to, or with an error."""

    done: bool = False
    stopped: bool = False
    error: CodepromptError | None = None
    code: str = ""


class Trainer:
    """A child process for one job; `run` is called once, from the event loop.

    folder: of the job. `pause` and `stop` may be called from any thread.
    """

    def __init__(self, folder: Path, *, cores: int, memory_mb: int, hub: bool) -> None:
        self.folder = folder
        self.cores, self.memory_mb, self.hub = cores, memory_mb, hub
        self.process: psutil.Process | None = None
        self.paused = self._stopped = False
        self._lock = threading.Lock()

    async def run(self) -> End:
        """From start to end. Raises `TrainingError` where no process can be started."""
        for name in ("pause", "stop", PID):
            (self.folder / name).unlink(missing_ok=True)
        try:
            with open(self.folder / "log", "ab") as log:
                child = await asyncio.create_subprocess_exec(
                    *(
                        sys.executable,
                        "-P",
                        "-m",
                        "codeprompt.service.jobs.child",
                        str(self.folder / SPEC),
                    ),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=self._environment(),
                )
        except OSError as error:
            raise TrainingError(f"The trainer cannot be started: {error.strerror}") from error
        with self._lock, contextlib.suppress(psutil.NoSuchProcess):
            self.process = psutil.Process(child.pid)
        if self._stopped:
            self.stop()
        return await self._watch(child)

    def pause(self, pause: bool) -> None:
        """Stand still, or go on; nothing where it is not far enough to be asked (see `paused`).

        It has a number of its own once it has seen to it that it dies with us: one that stood
        still before would stand there for ever after we were killed.
        """
        with self._lock:
            if self.process is None or self._stopped or not (self.folder / PID).exists():
                return
            self.paused = pause
            if not POSIX:
                mark = self.folder / "pause"
                mark.touch() if pause else mark.unlink(missing_ok=True)
                return
            with contextlib.suppress(psutil.Error):
                self.process.suspend() if pause else self.process.resume()

    def stop(self) -> None:
        """Write a checkpoint and end; after a time it is killed."""
        with self._lock:
            self._stopped = True
            if self.process is None:
                return
            with contextlib.suppress(psutil.Error, OSError):
                if POSIX:
                    self.process.send_signal(signal.SIGTERM)
                    self.process.resume()
                else:
                    (self.folder / "stop").touch()
                    (self.folder / "pause").unlink(missing_ok=True)

    async def _watch(self, child: asyncio.subprocess.Process) -> End:
        """Until it ends; memory is looked at four times a second."""
        ended = asyncio.ensure_future(child.wait())
        too_much, left = 0, GRACE_SECONDS
        try:
            while not (await asyncio.wait({ended}, timeout=TICK))[0]:
                used = self._memory()
                left -= TICK if self._stopped else 0.0
                if used > self.memory_mb * (1 << 20) or left <= 0:
                    too_much = 0 if left <= 0 else used
                    self._kill()
        finally:
            if not ended.done():  # the loop ends before the trainer
                self._kill()
        return self._end(ended.result(), too_much)

    def _end(self, status: int, too_much: int) -> End:
        if too_much:
            mb = too_much >> 20
            return End(
                code="memory",
                error=TrainingError(
                    f"The job took {mb:,} MB of memory, and may take {self.memory_mb:,}",
                    do="Lower batch or source_length, or allow jobs more memory, then resume it",
                ),
            )
        if status == 0:
            return End(done=True)
        if self._stopped:
            return End(stopped=True)
        failure = read_failure(self.folder)
        if failure is not None:
            return End(code=failure[0], error=failure[1])
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        why = ", as the system does when memory runs out" if status == -9 else ""
        return End(
            code="trainer",
            error=TrainingError(
                f"The trainer was ended {how}{why}",
                do=f"Resume the job; what the trainer printed is in {self.folder / 'log'}",
            ),
        )

    def _memory(self) -> int:
        """Resident bytes of the trainer and its own children."""
        if self.process is None:
            return 0
        try:
            family = [self.process, *self.process.children(recursive=True)]
            return sum(p.memory_info().rss for p in family)
        except psutil.Error:
            return 0

    def _kill(self) -> None:
        with self._lock, contextlib.suppress(psutil.Error):
            if self.process is not None:
                self.process.kill()

    def _environment(self) -> dict[str, str]:
        """Threads as given, waiting ones asleep; libraries silent, and offline unless allowed."""
        count = str(self.cores)
        names = ("OMP", "MKL", "OPENBLAS", "RAYON")
        offline = {} if self.hub else {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        return {
            **os.environ,
            **{f"{name}_NUM_THREADS": count for name in names},
            **ASLEEP,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            **offline,
        }


def end_left_over(folder: Path) -> None:
    """Kill a trainer that outlived its service, where the system could not see to that."""
    try:
        pid, created = (folder / PID).read_text(encoding="ascii").split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(created)) < 1.0:
            process.kill()
            process.wait(GRACE_SECONDS)
    except (OSError, ValueError, psutil.Error):
        return
