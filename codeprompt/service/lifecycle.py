"""What an engine's process owns while it lives: the state folder, its sockets, its log.

Locks are taken before anything is touched and held to the end, so that whatever an engine finds
lying about (a socket, a record) was left by one that is dead, and may go.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from codeprompt import __version__
from codeprompt.client.address import LONGEST, Address, Home, Record, check_owner, private_folder
from codeprompt.client.process import LOG_BYTES, created
from codeprompt.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_SECONDS = 3.0
"""Whoever looks whether an engine lives holds its lock for a moment."""
BACKLOG = 256


@dataclass(frozen=True)
class Listener:
    """An open socket that requests come from. address: what clients are told."""

    socket: socket.socket
    address: Address


@dataclass
class Claim:
    """A state folder that is this process's alone."""

    home: Home
    listeners: list[Listener] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def listen_socket(self, path: Path) -> None:
        """Listen on a Unix socket that the user alone may open (mode 0600 from its birth).

        Raises `EngineError` where the path is in use, is no socket or cannot be made.
        """
        if len(os.fsencode(path)) > LONGEST:
            raise EngineError(f"{path} is too long for a socket", expected=f"{LONGEST} bytes")
        private_folder(path.parent)
        check_owner(path)
        self._stack.enter_context(_locked(path.with_name(path.name + ".lock"), str(path)))
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise EngineError(
                f"The socket {path} cannot be made: {error.strerror or error}",
                do="Choose another place with --uds",
            ) from error
        finally:
            os.umask(before)
        mine = os.stat(path).st_ino
        self._stack.callback(_remove, path, mine)
        self.listeners.append(Listener(listener, Address(path)))

    def listen_port(self, host: str, port: int, token: str) -> None:
        """Listen on a TCP port; 0 takes a free one. Raises `EngineError` where it cannot be."""
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise EngineError(f"'{host}' is no address here: {error.strerror or error}") from error
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise EngineError(
                f"Port {port} of {host} cannot be listened on: {error.strerror or error}",
                do="Choose another with --port (0 takes a free one)",
            ) from error
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        self.listeners.append(Listener(listener, Address(None, url, token)))

    def announce(self) -> None:
        """Tell clients where the engine listens."""
        record = Record(os.getpid(), created(os.getpid()), __version__, platform.node())
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        for listener in self.listeners:
            if listener.address.socket is not None:
                values["socket"] = str(listener.address.socket)
            else:
                values["url"], values["token"] = listener.address.url, listener.address.token
        self.home.write(Record(**values))
        self._stack.callback(self.home.record_file.unlink, missing_ok=True)

    def release(self) -> None:
        """Close and remove what was made; the locks go last."""
        for listener in self.listeners:
            listener.socket.close()
        self._stack.close()


@contextmanager
def claimed(home: Home) -> Iterator[Claim]:
    """Own a state folder. Raises `EngineError` where another engine does."""
    private_folder(home.folder)
    with _locked(home.lock, str(home.folder), home):
        claim = Claim(home)
        try:
            yield claim
        finally:
            claim.release()


@contextmanager
def _locked(path: Path, what: str, home: Home | None = None) -> Iterator[None]:
    lock = FileLock(path, timeout=LOCK_SECONDS, mode=0o600)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        record = home.record() if home else None
        who = f": process {record.pid}, listening on {record.address}" if record else ""
        raise EngineError(
            f"An engine runs already for {what}{who}",
            do="`codeprompt engine status` shows it, `codeprompt engine stop` ends it",
        ) from None
    except OSError as error:
        raise EngineError(f"{path} cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on any more; anything else stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is there and is no socket", do="Choose another place with --uds")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise EngineError(
                f"Whether somebody listens on {path} cannot be told: {error}"
            ) from error
    raise EngineError(f"Another program listens on {path}", do="Choose another place with --uds")


def _remove(path: Path, inode: int) -> None:
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


def is_loopback(host: str) -> bool:
    """Whether a name or address stays on this machine, whatever it resolves to."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def logged(log: Path) -> list[int]:
    """Which of stdout and stderr go to the log: the engine runs in the background."""
    try:
        found = log.stat()
        return [fd for fd in (1, 2) if os.path.samestat(os.fstat(fd), found)]
    except OSError:
        return []


def bound_log(log: Path) -> None:
    """Begin a new log where stdout or stderr goes to this one and it has become too long.

    One older log is kept. What a terminal or another file gets is none of our business.
    """
    try:
        streams = logged(log)
        if not streams or log.stat().st_size <= LOG_BYTES:
            return
        os.replace(log, log.with_name(log.name + ".1"))
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for fd in streams:
        os.dup2(handle, fd)
    os.close(handle)


def peers(own: int, connection: socket.socket) -> bool:
    """Whether the other end of a Unix socket is this user's, or root's; true where nobody knows."""
    if sys.platform != "linux" or connection.family != socket.AF_UNIX:
        return True
    import struct

    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", raw)[1] in (own, 0)


def addresses(listeners: Sequence[Listener]) -> str:
    """Where an engine listens, for people."""
    return " and ".join(str(listener.address) for listener in listeners)
