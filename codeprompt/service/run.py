"""The engine's process: state, application and sockets, from the first lock to the last.

Told to end (SIGTERM, SIGINT, `/v1/shutdown`, nobody asked for long), it first takes nothing new
while its sockets still say so, waits for the requests in flight, has the jobs write their
checkpoints, and removes its socket and its record.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.client.address import SOCKETS, Home
from codeprompt.errors import UsageError
from codeprompt.service.lifecycle import (
    Claim,
    addresses,
    bound_log,
    claimed,
    is_loopback,
    logged,
    peers,
)

if TYPE_CHECKING:
    from types import FrameType

    from uvicorn import Config, Server

    from codeprompt.service.core import Service
    from codeprompt.service.settings import Settings

DRAIN_SECONDS = 10.0
"""For requests in flight; then they are cut off."""
CLOSE_SECONDS = 2.0
"""For connections that only listen, such as those that follow a job."""
TICK_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""Between looks at idleness and the log."""
KEEP_ALIVE_SECONDS = 60
"""Longer than our clients keep an idle connection: they close it first, and never ask into a
connection that is just being closed."""
TOKEN_BYTES = 32
SWITCH_SECONDS = 0.0005
"""How soon a thread that wants the interpreter gets it. The engine's thread gives it up for moments
only, so every call of the system costs the event loop that long: ten times less than by default."""
Say = Callable[[str], None]


def run(
    settings: Settings,
    *,
    uds: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    token: str | None = None,
    insecure_bind: bool = False,
    say: Say = lambda _: None,
) -> int:
    """Run an engine until it is told to end; returns the exit status.

    uds: the socket, by default the usual one. host, port: listen there too (port 0 takes a free
    one); a token is made where none is given. insecure_bind: allow a host beyond loopback, which
    needs a token that was given. say: gets a line for people once it listens.
    Everything is closed and removed when this returns; threads that still load or compute are not
    waited for, so the process should leave by `os._exit`.
    Raises `CodepromptError` where it cannot start; `EngineError` where another engine runs.
    """
    tcp = host is not None or port is not None or not SOCKETS
    host = host or "127.0.0.1"
    allowed(host, token if tcp else "", insecure_bind)
    home = Home(settings.home)
    with claimed(home) as claim:
        if SOCKETS:
            claim.listen_socket(uds or home.socket)
        if tcp:
            settings = replace(
                settings,
                token=token or secrets.token_urlsafe(TOKEN_BYTES),
                hosts=("*",) if insecure_bind else (*settings.hosts, host),
            )
            claim.listen_port(host, port or 0, settings.token or "")
        claim.announce()
        say(f"Listening on {addresses(claim.listeners)}")
        if tcp and not token and not logged(home.log):  # a log may be shown to others
            say(f"Token for {claim.listeners[-1].address.url}: {settings.token}")
        loop = asyncio.new_event_loop()
        return loop.run_until_complete(_live(settings, claim))


def allowed(host: str, token: str | None, insecure_bind: bool) -> None:
    """Beyond loopback only on purpose, and with a token. Raises `UsageError`."""
    if is_loopback(host):
        return
    if not insecure_bind:
        raise UsageError(
            f"{host} can be reached from other machines",
            expected="localhost, 127.0.0.1 or ::1",
            do="If that is meant, give --allow-remote and --token-file",
        )
    if not token:
        raise UsageError(f"{host} can be reached from other machines", do="Give --token-file")


async def _live(settings: Settings, claim: Claim) -> int:
    """The application from its making to its end."""
    from codeprompt.service.core import Service
    from codeprompt.service.jobs import Jobs
    from codeprompt.service.logs import configure
    from codeprompt.service.packs import Packs
    from codeprompt.service.state import Store

    configure()
    sys.setswitchinterval(SWITCH_SECONDS)
    store = Store.open(settings.home)
    try:
        packs = Packs(store)
        jobs = Jobs(
            store,
            packs,
            cores=settings.job_cores,
            memory_mb=settings.job_memory_mb,
            allow_hub=settings.allow_hub,
        )
        service = Service(settings, store, packs, jobs)
        leave, hurry = asyncio.Event(), asyncio.Event()
        service.on_shutdown = leave.set
        with _signals(leave, hurry):
            await service.start()
            try:
                await _serve(service, claim, leave, hurry)
            finally:
                await service.jobs.stop()  # what else there is, the system takes back
    finally:
        store.close()
    return 0


async def _serve(
    service: Service, claim: Claim, leave: asyncio.Event, hurry: asyncio.Event
) -> None:
    """Answer until the end is wanted, then until what is in flight is answered."""
    from codeprompt.service.app import make_app

    server = _server(make_app(service))
    serving = asyncio.create_task(
        server.serve(sockets=[listener.socket for listener in claim.listeners])
    )
    await _first(serving, _watch(service, claim.home, leave))
    await _first(service.drain(DRAIN_SECONDS), hurry.wait())
    server.should_exit = True
    await serving


async def _first(*awaited: Awaitable[Any]) -> None:
    """Wait for one of several. Tasks that were given go on; what else was begun here ends."""
    tasks = [asyncio.ensure_future(one) for one in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    begun = [task for task, one in zip(tasks, awaited, strict=True) if task is not one]
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)


async def _watch(service: Service, home: Home, leave: asyncio.Event) -> None:
    """Until somebody wants the engine to end, or nobody has wanted it for long."""
    bound = service.settings.idle_exit_s
    look = LOOK_SECONDS if bound is None else min(LOOK_SECONDS, max(TICK_SECONDS, bound / 4))
    while not leave.is_set():
        if service.draining or (bound is not None and service.idle_seconds > bound):
            return
        bound_log(home.log)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(leave.wait(), look)


@contextlib.contextmanager
def _signals(leave: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT begin the end; a second one does not wait for requests in flight."""
    loop = asyncio.get_running_loop()
    told = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        told.append(signal.SIGBREAK)

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(hurry.set if leave.is_set() else leave.set)

    before = {number: signal.signal(number, end) for number in told}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _server(app: Any) -> Server:
    """uvicorn on sockets of ours, without its signals, its log and its chmod."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    own = os.getuid() if hasattr(os, "getuid") else 0

    class Protocol(H11Protocol):
        """Hangs up on other users, should the socket's mode not have kept them away."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            found = transport.get_extra_info("socket")
            if found is None or found.family in (socket.AF_INET, socket.AF_INET6):
                return
            self.server = (str(found.getsockname()), None)  # not every version says so
            if not peers(own, found):
                transport.abort()

    class Quiet(uvicorn.Server):
        """Leaves signals to us."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config: Config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",  # the service is begun and ended here: its errors are for people
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(CLOSE_SECONDS),
    )
    return Quiet(config)
