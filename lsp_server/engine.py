"""The shared engine as the editor's server sees it: woken in the background, its state told.

The connection is made by the first feature that needs it. Until a backbone answers the state says
so, and features give what they can without one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from codeprompt.errors import CodepromptError, EngineError

if TYPE_CHECKING:
    from codeprompt.client import AsyncClient

Kind = Literal["idle", "starting", "loading", "ready", "failed"]
AGAIN_SECONDS = 20.0
"""After a failure, for passive features; what a person asks for tries at once."""
IDLE_SECONDS = 1800
POLL_SECONDS = 0.2
LOAD_SECONDS = 600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """kind, and a sentence for the status bar."""

    kind: Kind = "idle"
    message: str = "The engine starts when it is needed."


class Engine:
    """One connection to the engine. on_state: called in the loop with every new state."""

    def __init__(self, on_state: Callable[[State], None]) -> None:
        self.state = State()
        self.threads: int | None = None
        self._on_state = on_state
        self._client: AsyncClient | None = None
        self._waking: asyncio.Task[AsyncClient] | None = None
        self._failed_at = -AGAIN_SECONDS
        self._error: CodepromptError | None = None

    @property
    def client(self) -> AsyncClient | None:
        """The connection where the engine is ready, else None."""
        return self._client if self.state.kind == "ready" else None

    def wake(self) -> None:
        """See to it, in the background, that the engine runs; after a failure not at once again."""
        if self._client is None and time.monotonic() - self._failed_at > AGAIN_SECONDS:
            self._wake()

    def _wake(self) -> asyncio.Task[AsyncClient]:
        if self._waking is None or self._waking.done():
            self._waking = asyncio.ensure_future(self._connected())
            self._waking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._waking

    async def ready(self) -> AsyncClient:
        """The connection, once a backbone answers. Raises `CodepromptError`."""
        if self._client is not None and self.state.kind == "ready":
            return self._client
        return await asyncio.shield(self._wake())

    async def _connected(self) -> AsyncClient:
        from codeprompt.client import connect_async, start
        from codeprompt.client.aio import apart

        self._tell("starting", "The engine is starting.")
        try:
            await apart(start, self._options())
            client = await connect_async()
            await self._loaded(client)
        except CodepromptError as error:
            self._failed(error)
            raise
        except Exception as error:
            failure = EngineError(f"The engine cannot be reached ({_why(error)})")
            self._failed(failure)
            raise failure from error
        self._client, self._error = client, None
        self._tell("ready", "The engine is ready.")
        return client

    async def _loaded(self, client: AsyncClient) -> None:
        """Wait until a backbone answers."""
        deadline = time.monotonic() + LOAD_SECONDS
        while True:
            try:
                await client.ready()
                return
            except EngineError as error:
                if not waits(error) or time.monotonic() > deadline:
                    raise
                self._tell("loading", "The model is loading.")
            await asyncio.sleep(POLL_SECONDS)

    def _options(self) -> Sequence[str]:
        options = ["--idle-exit", str(IDLE_SECONDS)]
        return [*options, "--threads", str(self.threads)] if self.threads else options

    def _failed(self, error: CodepromptError) -> None:
        self._failed_at, self._error = time.monotonic(), error
        self._client = None
        self._tell("failed", str(error))

    def _tell(self, kind: Kind, message: str) -> None:
        state = State(kind, message)
        if state != self.state:
            self.state = state
            self._on_state(state)

    def lost(self, error: CodepromptError) -> None:
        """The connection is of no use any more; the next need makes another."""
        self._failed(error)
        self._failed_at = -AGAIN_SECONDS

    async def close(self) -> None:
        """Close the connection; the engine stays for other editors."""
        if self._waking is not None and not self._waking.done():
            self._waking.cancel()
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _why(error: Exception) -> str:
    """What a person can do something about: of the system's errors, what failed and where."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return type(error).__name__


def waits(error: Exception) -> bool:
    """Whether an engine that is not ready will be (`/readyz`: "still being loaded")."""
    return "still" in str(error)


async def bounded(work: Sequence[Any], most: int) -> list[Any]:
    """Awaitables at most so many at a time; results or errors in order."""
    gate = asyncio.Semaphore(most)

    async def one(awaitable: Any) -> Any:
        async with gate:
            return await awaitable

    return await asyncio.gather(*(one(each) for each in work), return_exceptions=True)
