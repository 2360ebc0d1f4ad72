"""The trainer: `python -m codeprompt.service.jobs.child SPEC.json`, one process a job.

It takes the lowest priority before anything else, ends when its parent does, goes on from the
checkpoint that is there, and tells its progress in a file. Asked to stop, it writes a checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec
import psutil

from codeprompt.errors import CodepromptError
from codeprompt.service.jobs.events import Writer, write_failure
from codeprompt.service.jobs.spec import JobSpec

if TYPE_CHECKING:
    from codeprompt.training.loop import Event
    from codeprompt.training.tune import TuneRequest

FAILED, BROKEN, STOPPED, ORPHAN = 3, 4, 5, 6
QUIET_SECONDS = 0.25
"""Between two progress events without news."""
PAUSE_SECONDS = 0.05
LOCK_SECONDS = 60.0
PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor writes into SPEC.json.

    data, dev_data: places as `TuneRequest` takes them. parent: the supervisor's process id.
    checkpoint_seconds: between two checkpoints; None leaves it to the training loop.
    """

    spec: JobSpec
    data: str
    dev_data: str | None
    folder: str
    parent: int
    cores: int
    allow_hub: bool
    checkpoint_seconds: float | None = None

    @property
    def place(self) -> Path:
        """The job's folder."""
        return Path(self.folder)

    @property
    def out(self) -> Path:
        """Where the pack is written."""
        return self.place / "out" / self.spec.name


class EndError(BaseException):
    """The supervisor wants an end; no `except Exception` may swallow it."""


class Told:
    """Called after every step: tells progress, stands still, says when to stop."""

    def __init__(self, order: Order, writer: Writer) -> None:
        self.order, self.writer = order, writer
        self.stopping = False
        self.seed = -1
        self.first, self.began, self.told = 0, 0.0, 0.0
        self.dev: float | None = None
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's; the parent decides

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        if self.seed < 0:
            raise EndError  # no step was made, so there is nothing to keep

    def __call__(self, seed: int, event: Event) -> None:
        if seed != self.seed:
            self.seed, self.dev = seed, None
            self.first, self.began = event.step, time.monotonic()
        self.dev = event.dev if event.dev is not None else self.dev
        now = time.monotonic()
        if event.dev is not None or event.step == event.steps or now - self.told > QUIET_SECONDS:
            self.told = now
            self._tell(seed, event)
        while (self.order.place / "pause").exists() and not self.wanted():
            time.sleep(PAUSE_SECONDS)

    def wanted(self) -> bool:
        """Whether the supervisor wants an end."""
        return self.stopping or (self.order.place / "stop").exists()

    def _tell(self, seed: int, event: Event) -> None:
        seeds = self.order.spec.seeds
        steps = event.step - self.first
        pace = (time.monotonic() - self.began) / steps if steps else math.nan
        later = len(seeds) - 1 - seeds.index(seed)
        self.writer.write(
            "progress",
            time.time(),
            step=event.step,
            steps=event.steps,
            loss=event.loss,
            dev=self.dev,
            best=event.best,
            seed=seed,
            seeds=len(seeds),
            seconds_left=pace * (event.steps - event.step + later * event.steps),
        )


def main(path: str) -> int:
    """Run the job; the exit status says how it ended."""
    order = msgspec.json.decode(Path(path).read_bytes(), type=Order)
    be_least()
    if not end_with(order.parent):
        return ORPHAN
    from filelock import FileLock, Timeout

    try:
        with FileLock(order.place / "lock", timeout=LOCK_SECONDS):
            return work(order)
    except Timeout:
        write_failure(order.place, "trainer", "Another trainer is at work on this job")
        return FAILED


def work(order: Order) -> int:
    """Tune, and tell how it went."""
    folder = order.place
    (folder / "failure.json").unlink(missing_ok=True)
    created = psutil.Process().create_time()
    (folder / "pid").write_text(f"{os.getpid()} {created}", encoding="ascii")
    writer = Writer(folder / "progress.jsonl")
    told = Told(order, writer)
    writer.write("started", time.time(), task=order.spec.task, name=order.spec.name)
    try:
        tune_it(order, told)
    except EndError:
        return STOPPED
    except CodepromptError as error:
        write_failure(folder, code_of(error), str(error))
        return FAILED
    except MemoryError:
        write_failure(folder, "memory", "The job ran out of memory. Lower batch or source_length.")
        return FAILED
    except Exception as error:
        # The traceback goes to the log in the job's folder; a message may quote the user's data.
        write_failure(
            folder,
            "internal",
            f"The trainer met an error it did not expect ({type(error).__name__}); see "
            f"{folder / 'log'}.",
        )
        raise
    finally:
        writer.close()
    return 0


def tune_it(order: Order, told: Told) -> None:
    """Train, unless a killed trainer's pack is there already: it is whole or not there."""
    from codeprompt.pack.lookup import exists

    if exists(order.out):
        return
    order.out.parent.mkdir(exist_ok=True)
    import torch

    from codeprompt.training.keeping import Keeping, StopError
    from codeprompt.training.tune import tune

    torch.set_num_threads(order.cores)
    keeping = Keeping(should_stop=told.wanted)
    if order.checkpoint_seconds is not None:
        keeping = replace(keeping, seconds=order.checkpoint_seconds, share=math.inf)
    try:
        tune(request_of(order), told, keeping)
    except StopError as stopped:
        raise EndError from stopped


def request_of(order: Order) -> TuneRequest:
    """The job in the words of training; it always goes on from what is there."""
    from codeprompt.training.setup import TuneRequest

    spec = order.spec
    return TuneRequest(
        task=spec.task,
        data=order.data,
        out=order.out,
        backbone=spec.backbone,
        method=spec.method,
        recipe=spec.recipe,
        template=spec.template,
        seeds=spec.seeds,
        head=spec.head,
        columns=spec.columns,
        dev_data=order.dev_data,
        language=spec.language,
        target_language=spec.target_language,
        overrides=spec.overrides,
        options=spec.options,
        resume=True,
        allow_hub=order.allow_hub,
        limit=spec.limit,
    )


def code_of(error: CodepromptError) -> str:
    """A word for programs: the class's name without `Error`, in lower case."""
    return type(error).__name__.removesuffix("Error").lower()


def be_least() -> None:
    """Behind every other process for the processor and the disk, first to go without memory."""
    me = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        me.nice(19 if os.name == "posix" else psutil.IDLE_PRIORITY_CLASS)
    if sys.platform != "linux":
        return
    with contextlib.suppress(psutil.Error, OSError):
        me.ionice(psutil.IOPRIO_CLASS_IDLE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def end_with(parent: int) -> bool:
    """Die when the parent does; false where it is dead already."""
    if sys.platform == "linux":
        import ctypes

        asked = ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if asked == 0:
            return os.getppid() == parent  # asked of the system, so nothing needs to watch
    try:
        process = psutil.Process(parent)
    except psutil.Error:
        return False

    def watch() -> None:
        while process.is_running():
            time.sleep(1.0)
        os._exit(ORPHAN)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
