"""The jobs of one engine: a queue, a trainer process for each that runs, and what comes of it."""

from __future__ import annotations

import asyncio
import builtins
import logging
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from codeprompt.errors import CodepromptError, PackError, UnknownNameError
from codeprompt.files import write_bytes
from codeprompt.pack.card import decode
from codeprompt.pack.lookup import CARD
from codeprompt.service.jobs.child import Order, code_of
from codeprompt.service.jobs.events import Event, Reader, newest
from codeprompt.service.jobs.share import Share
from codeprompt.service.jobs.spec import JobSpec, check, locate
from codeprompt.service.jobs.table import ENDED, Job, Table
from codeprompt.service.jobs.trainer import SPEC, TICK, End, Trainer, end_left_over
from codeprompt.service.jobs.uploads import Uploads
from codeprompt.service.packs import Packs
from codeprompt.service.state import StateError, Store

OnPack = Callable[[str, str], Awaitable[None] | None]
"""Gets the name and the version of a pack that a job made and activated."""
LOCK_SECONDS = 10.0
KEEP_SECONDS = 7 * 24 * 3600.0
"""How long what a failed or cancelled job left can be gone on with."""
LINGER_SECONDS = 0.05
"""From the last answer to a trainer's going on."""
REST_SECONDS = 5.0
"""Before a job is tried again whose outcome could not be written down."""
log = logging.getLogger(__name__)


class Jobs:
    """Tuning jobs; `start`, `stop` and `events` belong to one event loop, the rest to any thread.

    cores, memory_mb: what one job may take. workers: how many run at once.
    on_pack: see `OnPack`; called in the event loop. checkpoint_seconds: see `child.Order`.
    """

    def __init__(
        self,
        store: Store,
        packs: Packs,
        *,
        cores: int = 1,
        memory_mb: int = 4096,
        workers: int = 1,
        allow_hub: bool = False,
        on_pack: OnPack | None = None,
        checkpoint_seconds: float | None = None,
    ) -> None:
        self.packs, self.table, self.uploads = packs, Table(store), Uploads(store)
        self.cores, self.memory_mb, self.workers = cores, memory_mb, workers
        self.allow_hub, self.on_pack = allow_hub, on_pack
        self.checkpoint_seconds = checkpoint_seconds
        self.folder = store.folder / "jobs"
        self.share = Share()
        self._lock = FileLock(store.folder / "jobs.lock", thread_local=False)
        self._running: dict[str, Trainer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._stopping = False

    def submit(self, spec: JobSpec, *, local: bool = True) -> Job:
        """Queue a job; it is on the disk when this returns. local: it may name paths here.

        Raises `CodepromptError` on what cannot be tuned, `QueueFullError` where too many wait.
        """
        spec = check(spec, local=local, allow_hub=self.allow_hub, upload=self.uploads.path)
        for pack in self.packs.list():
            if pack.name == spec.name and pack.task != spec.task:
                raise PackError(
                    f"'{spec.name}' is a pack for {pack.task}", do="Give the job another name"
                )
        job = self.table.add(spec, self.cores)
        self._nudge()
        return job

    def get(self, name: str) -> Job:
        """One job with its newest progress. Raises `UnknownNameError`."""
        job = self.table.get(name)
        return replace(job, progress=newest(self._place(name) / "progress.jsonl"))

    def list(self) -> builtins.list[Job]:
        """All jobs, newest first."""
        return self.table.list()

    def cancel(self, name: str) -> Job:
        """End a job; its checkpoint stays for `resume`. Raises `ConflictError` where it ended."""
        job = self.table.cancel(name)
        if trainer := self._running.get(name):
            trainer.stop()
        return job

    def resume(self, name: str) -> Job:
        """Queue a failed or cancelled job again; it goes on from its checkpoint."""
        job = self.table.revive(name)
        self._nudge()
        return job

    def yield_to(self, busy: bool) -> None:
        """Requests are in flight (or no more): trainers stand still, within their share."""
        self.share.busy = busy
        if busy:
            self._pause()
        elif (loop := self._loop) is not None:  # requests come in bursts: no going on in between
            loop.call_soon_threadsafe(loop.call_later, LINGER_SECONDS, self._pause)

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of jobs with a trainer."""
        return tuple(self._running)

    async def events(self, name: str, after: int = 0) -> AsyncIterator[Event]:
        """What a job tells, from the event after `after` to its end; ends with `ENDED`'s kind.

        Raises `UnknownNameError`.
        """
        reader = Reader(self._place(name) / "progress.jsonl", after)
        while True:
            job = self.table.get(name)
            over = job.status in ENDED and name not in self._running
            for event in reader:
                yield event
            if over:
                yield Event(reader.seen + 1, job.status, job.ended_so)
                return
            await asyncio.sleep(TICK)

    async def start(self) -> None:
        """Go on with what was running, then the queue.

        Raises `StateError` where another engine runs the jobs of this folder.
        """
        try:
            await asyncio.to_thread(self._lock.acquire, timeout=LOCK_SECONDS)
        except Timeout:
            raise StateError(
                f"Another engine runs the jobs in {self.folder}",
                do="Stop it, or give this one a folder of its own with CODEPROMPT_HOME",
            ) from None
        await asyncio.to_thread(self._tidy)
        self._wake, self._stopping = asyncio.Event(), False
        self._loop = asyncio.get_running_loop()
        self._keep(self._run())
        self._keep(self._tick())
        self._wake.set()

    async def stop(self) -> None:
        """Let every trainer write a checkpoint and end; `start` goes on with them."""
        self._stopping, self._loop = True, None
        for trainer in [*self._running.values()]:
            trainer.stop()
        self._wake.set()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._lock.release()

    async def _run(self) -> None:
        """Start what waits while there is room."""
        while not self._stopping:
            for name in self.table.live():
                if len(self._running) < self.workers and name not in self._running:
                    self._running[name] = self._trainer(name)
                    self._keep(self._attend(name, self._running[name]))
            await self._wake.wait()
            self._wake.clear()

    async def _tick(self) -> None:
        """Keep the pauses in step with the share."""
        while not self._stopping:
            await asyncio.sleep(TICK)
            self._pause()

    async def _attend(self, name: str, trainer: Trainer) -> None:
        """One job from its beginning, or its checkpoint, to what becomes of it."""
        try:
            job = self.table.begin(name)
            if job is not None:
                try:
                    self._write_order(job)
                    await self._settle(job, await trainer.run())
                except CodepromptError as error:
                    self.table.fail(name, error, code_of(error))
        except Exception:  # the disk is full, for one: the job stays as it was and is tried again
            log.exception("job %s could not be attended to", name)
            await self._rest()
        finally:
            del self._running[name]
            self._wake.set()

    async def _settle(self, job: Job, end: End) -> None:
        """Take the pack in, or keep the reason why there is none."""
        if end.error is not None:
            self.table.fail(job.id, end.error, end.code)
        if not end.done:
            return
        out = self._out(job)
        try:
            version = await asyncio.to_thread(
                self.packs.add_folder, out, job.spec.name, source=f"job:{job.id}"
            )
        except PackError:
            shutil.rmtree(out, ignore_errors=True)  # to be tuned again, if the job is resumed
            raise
        card = decode((out / CARD).read_bytes(), str(out))
        done = self.table.finish(job.id, self.packs, version, card.data.fingerprint)
        shutil.rmtree(out.parent, ignore_errors=True)
        if done:
            await self._tell(job.spec.name, version)

    async def _tell(self, name: str, version: str) -> None:
        """A listener that fails does not undo the pack."""
        try:
            if self.on_pack is not None and (wait := self.on_pack(name, version)) is not None:
                await wait
        except Exception:
            log.exception("the pack %s %s is active, and was not loaded", name, version)

    async def _rest(self) -> None:
        for _ in range(int(REST_SECONDS / TICK)):
            if not self._stopping:
                await asyncio.sleep(TICK)

    def _pause(self) -> None:
        paused = self.share.paused()
        for trainer in [*self._running.values()]:
            if trainer.paused != paused:
                trainer.pause(paused)

    def _nudge(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that nobody holds may vanish."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _trainer(self, name: str) -> Trainer:
        cores = self.table.get(name).cores
        return Trainer(self._place(name), cores=cores, memory_mb=self.memory_mb, hub=self.allow_hub)

    def _write_order(self, job: Job) -> None:
        """SPEC.json for the trainer, anew at each attempt: paths and limits may have changed."""
        dev = job.spec.dev_data
        order = Order(
            spec=job.spec,
            data=locate(job.spec.data, self.uploads.path),
            dev_data=None if dev is None else locate(dev, self.uploads.path),
            folder=str(self._place(job.id)),
            parent=os.getpid(),
            cores=job.cores,
            allow_hub=self.allow_hub,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        self._place(job.id).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(self._place(job.id) / SPEC, msgspec.json.encode(order))

    def _place(self, name: str) -> Path:
        if not re.fullmatch("[0-9a-f]+", name):  # a path, perhaps
            raise UnknownNameError("job", name, ())
        return self.folder / name

    def _out(self, job: Job) -> Path:
        return self._place(job.id) / "out" / job.spec.name

    def _tidy(self) -> None:
        """End trainers that outlived their engine; remove what nobody can go on with."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        jobs = {job.id: job for job in self.table.list()}
        for folder in self.folder.iterdir():
            end_left_over(folder)
            job = jobs.get(folder.name)
            old = job is not None and time.time() - (job.ended or time.time()) > KEEP_SECONDS
            if job is None or old:
                shutil.rmtree(folder, ignore_errors=True)
