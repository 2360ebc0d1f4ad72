"""One engine per state folder: found, started where there is none, replaced, ended.

Whoever starts or ends an engine holds `engine.start.lock`, so that any number of clients at once
start one. What they believe is the lock that an engine holds for life, and its answer to
`/healthz`; a file that an engine left behind is believed by nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt import __version__
from codeprompt.client.address import Address, Home, parse, private_folder
from codeprompt.client.failures import DrainingError, UnreachableError
from codeprompt.client.http import NAME
from codeprompt.client.messages import API, Health
from codeprompt.client.process import end, is_alive, last_lines, spawn
from codeprompt.client.sight import State, probe, state
from codeprompt.client.sync import Client
from codeprompt.errors import CodepromptError, DeadlineError, EngineError

if TYPE_CHECKING:
    import subprocess

    from codeprompt.client.aio import AsyncClient

START_SECONDS = 60.0
"""From nothing to an engine that answers `/healthz`; a slow disk reads torch for long."""
LEAVE_SECONDS = 30.0
"""For an engine to finish what it has (`run.DRAIN_SECONDS`) and to write its checkpoints."""
KILL_SECONDS = 10.0
POLL = 0.05


def connect(
    *,
    start: bool = True,
    address: str | Path | Address | None = None,
    token: str = "",
    name: str = NAME,
    timeout: float = START_SECONDS,
) -> Client:
    """The user's engine, or the one at an address (a socket's path or `http://HOST:PORT`).

    start: start the user's engine where there is none, also later when it has left meanwhile, and
    replace one of another version. timeout: seconds for that. token: what a port asks for.
    name: of this client, for the engine's queue, which is fair to all.
    Raises `UnreachableError` where there is no engine, `EngineError` where it cannot be started
    (with the end of its log) or is of a version that cannot be understood.
    """
    found, revive = _found(start, address, token, timeout)
    return Client(found, name=name, revive=revive)


async def connect_async(
    *,
    start: bool = True,
    address: str | Path | Address | None = None,
    token: str = "",
    name: str = NAME,
    timeout: float = START_SECONDS,
) -> AsyncClient:
    """As `connect`, without stalling the event loop."""
    from codeprompt.client.aio import AsyncClient, apart

    found, revive = await apart(_found, start, address, token, timeout)
    return AsyncClient(found, name=name, revive=revive)


def start(
    options: Sequence[str] = (), *, home: Home | None = None, timeout: float = START_SECONDS
) -> tuple[State, bool]:
    """See to it that an engine of this version runs; whether it had to be started.

    options: of `codeprompt serve`, for one that is started.
    """
    home = home or Home.own()
    begun = _ensure(home, timeout, options)
    return state(home), begun


def stop(*, home: Home | None = None, timeout: float = LEAVE_SECONDS) -> bool:
    """End the engine; whether there was one.

    It finishes the requests it has and writes the jobs' checkpoints; after `timeout` seconds it is
    killed, which loses nothing that was acknowledged.
    """
    home = home or Home.own()
    if not home.alive():
        return False
    with _starting(home, timeout + KILL_SECONDS):
        if not home.alive():
            return False
        _leave(home, time.monotonic() + timeout)
    return True


def _found(
    start: bool, address: str | Path | Address | None, token: str, timeout: float
) -> tuple[Address, Callable[[bool], Address] | None]:
    if address is not None:
        given = parse(address, token)
        found = probe(given)
        if found is None:
            raise UnreachableError(f"No engine answers at {given}", do="Start one there")
        _understood(found, given)
        return given, None
    home = Home.own()
    if start:

        def revive(leaving: bool) -> Address:
            _ensure(home, timeout, leaving=leaving)
            return _address(home)

        return revive(False), revive
    usual = _usable(home)
    health = probe(usual) if usual is not None else None
    if usual is None or health is None:
        raise UnreachableError(
            f"No engine runs for {home.folder}", do="Start one with `codeprompt engine start`"
        )
    _understood(health, usual)
    return usual, None


def _ensure(
    home: Home, timeout: float, options: Sequence[str] = (), *, leaving: bool = False
) -> bool:
    """See to it that an engine of this version answers; whether one was started.

    leaving: the one that answers is about to end.
    """
    usual = _usable(home)
    if not leaving and usual is not None and _current(_probed(usual)):
        return False
    deadline = time.monotonic() + timeout
    with _starting(home, timeout):
        process: subprocess.Popen[bytes] | None = None
        mark = 0
        while True:
            usual = _usable(home)
            found = _probed(usual) if usual is not None else None
            if _current(found) and not (leaving and usual is not None and _draining(usual)):
                return process is not None and process.poll() is None
            if found is not None and found.version != __version__:
                _leave(home, min(deadline, time.monotonic() + LEAVE_SECONDS))
            elif home.alive():
                pass  # about to answer, or to leave
            elif process is None:
                mark = home.log.stat().st_size if home.log.exists() else 0
                process = spawn(home, options)
            elif process.poll() is not None:
                raise _failed(f"ended with status {process.returncode}", home, mark)
            if time.monotonic() > deadline:
                raise _failed(f"did not answer within {timeout:.0f} s", home, mark)
            time.sleep(POLL)


def _leave(home: Home, deadline: float) -> None:
    """Have the engine end: asked, told by a signal, killed. Raises where none of it helps."""
    record, address = home.record(), _usable(home)
    if address is not None:
        try:
            with Client(address) as client:
                client.shutdown()
        except CodepromptError:
            if record is not None:
                end(record, kill=False)
    if _gone(home, address, deadline):
        return
    for kill in (False, True):
        if record is not None:
            end(record, kill=kill)
        if _gone(home, address, time.monotonic() + KILL_SECONDS):
            return
    raise EngineError(
        f"The engine of {home.folder} does not end"
        + (f" (process {record.pid})" if record is not None and is_alive(record) else ""),
        do="End that process yourself, then try again",
    )


def _gone(home: Home, address: Address | None, deadline: float) -> bool:
    """Whether the lock is free, and (an engine of another state folder may) nobody answers."""
    while home.alive() or (address is not None and _probed(address) is not None):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


@contextmanager
def _starting(home: Home, timeout: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    private_folder(home.folder)
    lock = FileLock(home.start_lock, timeout=timeout, mode=0o600)
    try:
        lock.acquire(poll_interval=POLL)
    except Timeout:
        raise EngineError(
            f"Another process has been starting or ending the engine for {timeout:.0f} s",
            do=f"See {home.log}, or look who holds {home.start_lock}",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _probed(address: Address) -> Health | None:
    try:
        return probe(address)
    except DeadlineError:
        return None


def _draining(address: Address) -> bool:
    try:
        with Client(address) as client:
            client.ready()
    except DrainingError:
        return True
    except CodepromptError:
        return False
    return False


def _current(found: Health | None) -> bool:
    return found is not None and found.version == __version__


def _usable(home: Home) -> Address | None:
    """Where to look for an engine. A port is looked at, and told the token, only while one lives:
    another program may listen there by now."""
    address = home.address
    if address is not None and address.socket is None and not home.alive():
        return None
    return address


def _address(home: Home) -> Address:
    address = home.address
    if address is None:
        raise UnreachableError(f"The engine of {home.folder} left no word where it listens")
    return address


def _understood(found: Health, where: Address) -> None:
    if found.api != API:
        raise EngineError(
            f"The engine at {where} is version {found.version} (protocol {found.api})",
            expected=f"protocol {API}, as of version {__version__}",
            do="Install the same version on both sides",
        )


def _failed(what: str, home: Home, mark: int) -> EngineError:
    lines = last_lines(home.log, mark)
    said = " Its last lines: " + " | ".join(lines) if lines else ""
    return EngineError(f"The engine {what}.{said}", do=f"The whole log is {home.log}")
