"""The service as a Python API: what every route calls, free of HTTP.

    service = Service(settings, store, packs, jobs)
    await service.start()
    items = await service.answer("summarize", Ask(code, language="python"))

All methods belong on one event loop. A call that is cancelled stops what it has asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import structlog

from codeprompt.errors import CodepromptError, QueueFullError, UsageError
from codeprompt.service.answering import Answering, Tell
from codeprompt.service.ask import ROUTES, Ask, Event, Item, Token, language_for, languages_of
from codeprompt.service.cache import Cache
from codeprompt.service.engines import Engines
from codeprompt.service.entry import Entry
from codeprompt.service.folders import project_of
from codeprompt.service.holdings import Holdings
from codeprompt.service.jobs import Jobs
from codeprompt.service.loading import settle
from codeprompt.service.packs import Packs
from codeprompt.service.preparing import Preparing
from codeprompt.service.problems import Told, draining, past_deadline, told
from codeprompt.service.settings import MIB, Settings
from codeprompt.service.state import Store
from codeprompt.service.telemetry import Telemetry
from codeprompt.service.window import Window

__all__ = ["Ask", "Event", "Item", "Service", "Settings", "Token"]
SWEEP_SECONDS = 5.0
SWEEPS_TO_TRIM = 4
log = structlog.get_logger("codeprompt.service")


class Service(Holdings):
    """One user's engine: backbones, packs, cached answers and tuning jobs.

    on_shutdown: called once `shutdown` has drained; whoever runs the process ends it then.
    """

    def __init__(self, settings: Settings, store: Store, packs: Packs, jobs: Jobs) -> None:
        super().__init__(packs, jobs)
        self.settings, self.store = settings, store
        self.cache = Cache(settings.cache_mb * MIB)
        self.engines = Engines(settings, self.catalogue.place, _tell)
        self.preparing = Preparing()
        self.telemetry = Telemetry(self)
        self.on_shutdown: Callable[[], None] = lambda: None
        self.began = self.last_used = time.monotonic()
        self.in_flight = 0
        self.ready: Told | None = Told(503, "loading", "The backbone is still being loaded.", 1.0)
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    # Life

    async def start(self) -> None:
        """Warm up in the background, go on with the jobs that were running, tidy up regularly."""
        self.jobs.on_pack = self.landed
        await self.jobs.start()
        self._background(self.warm_up())
        self._background(self._sweep())

    async def warm_up(self) -> None:
        """Load the backbone with the packs that answer by default; then the service is ready."""
        try:
            folder = await self.engines.default()
            async with self.engines.using(folder) as slot:
                for task in dict.fromkeys(ROUTES.values()):
                    with contextlib.suppress(CodepromptError):
                        entry = self.catalogue.choose(task, None, {slot.hash})
                        if entry.backbone_hash == slot.hash:
                            async with self.engines.bound(entry):
                                pass
                await asyncio.to_thread(slot.engine.warm)
            await asyncio.to_thread(settle)
        except CodepromptError as error:
            log.warning("warm-up failed", error=type(error).__name__)
            self.ready = replace(told(error), status=503, retry_after=None)
            return
        self.ready = None

    async def drain(self, seconds: float | None = None) -> bool:
        """Take nothing new and wait for what is in flight; whether all of it ended in time."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Let jobs write their checkpoint, and the engines answer what waits; then let all go."""
        self.draining = True
        if self._stopped:
            return
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.jobs.stop()
        await self.engines.close()
        self.preparing.close()

    def begin_shutdown(self) -> None:
        """Take nothing new; once what is in flight has ended, have the process end."""
        if not self.draining:
            self.draining = True
            self._background(self._shut_down())

    async def _shut_down(self) -> None:
        await self.drain()
        self.on_shutdown()

    def touch(self) -> None:
        """Somebody wanted something: idleness begins anew."""
        self.last_used = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nobody has asked for anything and no job has run; 0 while one does."""
        busy = self.in_flight or self.jobs.running
        return 0.0 if busy else time.monotonic() - self.last_used

    # Answers

    async def answer(
        self,
        task: str,
        ask: Ask,
        *,
        client: str = "",
        window: Window | None = None,
        tell: Tell | None = None,
        streamed: bool = False,
    ) -> list[Item]:
        """Items for every function, in order.

        task: `summarize`, `translate`, `defect`, `localize`. client: whom the queue is fair to.
        tell: gets items, and where `streamed` is set parts of texts, as they come.

        Raises `CodepromptError`: a `Problem` with a status of its own, or what `told` knows.
        """
        began = time.monotonic()
        deadline = None if ask.deadline_ms is None else began + ask.deadline_ms / 1000
        with self._busy(), self.telemetry.timed(ask.priority):
            try:
                async with asyncio.timeout_at(_on_loop(deadline)):
                    entry = await self._choose(task, ask)
                    language_for(ask)  # a mistake that needs no place in the queue
                    async with self.engines.bound(entry) as bound:
                        items = await Answering(
                            bound, ask, self.cache, self.preparing, window or Window(), client,
                            deadline, tell, streamed,
                        ).run()  # fmt: skip
            except TimeoutError:
                raise past_deadline() from None
        self.ready = None
        self.telemetry.items.labels(task).inc(len(items))
        return items

    async def stream(self, task: str, ask: Ask, *, client: str = "") -> AsyncIterator[Event]:
        """Parts of texts and items as they come; leaving the iterator stops the computing."""
        told_: asyncio.Queue[Event | None] = asyncio.Queue()
        running = asyncio.create_task(
            self.answer(task, ask, client=client, tell=told_.put_nowait, streamed=True)
        )
        running.add_done_callback(lambda _: told_.put_nowait(None))
        try:
            while (event := await told_.get()) is not None:
                yield event
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def batch(
        self, requests: Sequence[tuple[str, Ask]], *, client: str = ""
    ) -> list[list[Item] | CodepromptError]:
        """Many requests at priority `batch`, answered in mixed batches; the results in order.

        One that fails has its error in its place, and the others go on. Raises `QueueFullError`
        where there is room for none.
        """
        window = Window()
        places = asyncio.Semaphore(window.size)

        async def one(task: str, ask: Ask) -> list[Item] | CodepromptError:
            async with places:
                try:
                    asked = replace(ask, priority="batch")
                    return await self.answer(task, asked, client=client, window=window)
                except CodepromptError as error:
                    return error

        if self.draining:
            raise draining()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one(task, ask)) for task, ask in requests]
        found = [task.result() for task in running]
        full = [one for one in found if isinstance(one, QueueFullError)]
        if full and len(full) == len(found):
            raise full[0]
        return found

    def clear_cache(self) -> int:
        """Forget the cached answers; how many those were."""
        return self.cache.clear()

    async def status(self) -> dict[str, Any]:
        """What is loaded, waiting and running."""
        return await asyncio.to_thread(self.telemetry.status)

    async def landed(self, name: str, version: str) -> None:
        """A version answers from now on: it is loaded where its backbone is."""
        await super().landed(name, version)
        log.info("pack active", pack=name, version=version)
        self._background(self._load_ahead(f"{name}@{version}"))

    async def _load_ahead(self, label: str) -> None:
        with contextlib.suppress(CodepromptError):  # told to whoever asks for it
            entry = await asyncio.to_thread(self.catalogue.choose, "", label, ())
            if entry.backbone_hash in self.engines.hashes():
                async with self.engines.bound(entry):
                    pass

    async def _choose(self, task: str, ask: Ask) -> Entry:
        project = project_of(ask.project)
        if self.catalogue.stale(project):
            await asyncio.to_thread(self.catalogue.look, project)
        languages = languages_of(ask) if ask.pack is None else ("", "")
        loaded = self.engines.hashes()
        entry = self.catalogue.choose(task, ask.pack, loaded, project, languages)
        if entry.task != task:
            route = next((r for r, t in ROUTES.items() if t == entry.task), None)
            raise UsageError(
                f"The pack '{entry.name}' is for {entry.task}, and {task} was asked for",
                do=f"POST /v1/{route}" if route else "Take another pack",
            )
        return entry

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Training gives way, and shutting down waits, while requests are in flight."""
        if self.draining:
            raise draining()
        if not self.in_flight:
            self._idle.clear()
            self.jobs.yield_to(True)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self.touch()
            if not self.in_flight:
                self._idle.set()
                self.jobs.yield_to(False)

    async def _sweep(self) -> None:
        from codeprompt.engine.trim import trim

        for number in count(1):
            await asyncio.sleep(SWEEP_SECONDS)
            await self.engines.sweep()
            if number % SWEEPS_TO_TRIM == 0:  # an engine that is never idle never does
                await asyncio.to_thread(trim)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _on_loop(moment: float | None) -> float | None:
    """A moment of `time.monotonic()` as the loop's clock has it."""
    if moment is None:
        return None
    return asyncio.get_running_loop().time() + moment - time.monotonic()


def _tell(event: str, backbone: str) -> None:
    log.info(event, backbone=backbone)
