"""One of several services behind one address: it answers, and keeps nothing the others lack.

Its state is a folder that goes with it. What only one of them would know (uploads, jobs, changes of
packs) is refused; packs come from shared storage, and all replicas look there.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from codeprompt.client.address import Home
from codeprompt.errors import CodepromptError, EngineError
from codeprompt.service.core import Service
from codeprompt.service.jobs import Jobs
from codeprompt.service.lifecycle import claimed
from codeprompt.service.packs import Packs
from codeprompt.service.problems import Problem, draining
from codeprompt.service.settings import Settings
from codeprompt.service.shared import Shared
from codeprompt.service.state import Store

LOOK_SECONDS = 15.0
"""Between looks at the shared storage."""
PREFIX = "codeprompt-replica-"
YOUNG_SECONDS = 60.0
"""A folder may be just made, and not claimed yet."""
log = structlog.get_logger("codeprompt.service")


@dataclass(frozen=True)
class Plan:
    """What every replica is made from. look_seconds: between looks at the packs' URL."""

    settings: Settings
    packs_from: str | None = None
    look_seconds: float = LOOK_SECONDS


class Replica(Service):
    """A `Service` among equals. It is begun only once it can answer."""

    def __init__(self, plan: Plan) -> None:
        _sweep_folders()
        self._stack = ExitStack()
        home = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._stack.callback(shutil.rmtree, home, ignore_errors=True)
        self._stack.enter_context(claimed(Home(home)))
        store = Store.open(home)
        self._stack.callback(store.close)
        packs = Packs(store)
        settings = replace(plan.settings, home=home, idle_unload_s=math.inf, local_paths=False)
        super().__init__(settings, store, packs, Jobs(store, packs))
        self.plan = plan
        self.shared = Shared(plan.packs_from) if plan.packs_from else None

    async def start(self) -> None:
        """Fetch the packs and warm up. Raises `CodepromptError` where either cannot be done."""
        if self.shared is not None:
            await asyncio.to_thread(self.shared.sync, self.packs)
            self.catalogue.changed()
        await self.warm_up()
        if self.ready is not None:
            raise EngineError(f"The replica cannot answer: {self.ready.message}")
        self._background(self._sweep())
        if self.shared is not None:
            self._background(self._follow(self.shared))

    async def stop(self) -> None:
        """End, and take the state along."""
        await super().stop()
        self._stack.close()

    def clear_cache(self) -> int:
        """Refused: the others would keep theirs."""
        raise replicated()

    def begin_shutdown(self) -> None:
        """Refused: whoever runs the replicas ends them."""
        raise replicated()

    async def cancel_job(self, name: str) -> dict[str, Any]:
        """Refused: there are none."""
        raise replicated()

    def _changing(self) -> None:
        raise draining() if self.draining else replicated()

    async def _follow(self, shared: Shared) -> None:
        while True:
            await asyncio.sleep(self.plan.look_seconds)
            try:
                changed = await asyncio.to_thread(shared.sync, self.packs)
            except CodepromptError as error:  # what is here answers on
                log.warning("shared packs cannot be listed", error=type(error).__name__)
                continue
            for name, version in changed:
                if version is None:
                    self.catalogue.changed()
                else:
                    await self.landed(name, version)


def replicated() -> Problem:
    """Only one of several services would know of it."""
    return Problem(
        409,
        "replicated",
        "This service is one of several replicas, which take no uploads, jobs or changes of packs",
        do="Put packs where --packs-from points, and tune with `codeprompt tune` or a single "
        "`codeprompt serve`",
    )


def _sweep_folders() -> None:
    """Remove what replicas that were killed left on this machine."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > YOUNG_SECONDS
            if old and not folder.is_symlink() and not Home(folder).alive():
                shutil.rmtree(folder, ignore_errors=True)
