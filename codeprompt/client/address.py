"""Where an engine listens, and the files of its life: one engine per state folder.

The state folder (`CODEPROMPT_HOME`, else the user's state folder) is what an engine owns:

- `engine.lock` is locked by the engine for as long as it lives. The lock is the truth about
  whether there is one: the system lets it go however the process ends.
- `engine.start.lock` is locked by whoever starts or stops an engine.
- `engine.json` (mode 0600) says where the engine listens, who it is, and the token that TCP asks
  for; it counts only while the lock is held.
- `engine.log` is what the engine prints.

The socket (mode 0600, in a folder of mode 0700) must be the user's own: a stranger's is never
talked to. Where the system has no Unix sockets, a loopback port with the token takes its place.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from codeprompt.errors import EngineError

HOME = "CODEPROMPT_HOME"
SOCKETS = hasattr(socket, "AF_UNIX") and sys.platform != "win32"
"""Whether the engine listens on a Unix socket here."""
LONGEST = 100
"""Bytes of a socket's path that every system takes (Linux 107, macOS 103)."""
URL = "http://codeprompt"
"""What stands in the requests that go over the socket."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens.

    socket: of a local engine; None for TCP. token: what TCP asks for; a socket needs none.
    """

    socket: Path | None = None
    url: str = URL
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        return str(self.socket or self.url)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `engine.json` holds.

    socket, url: where it listens; either may be empty. created: when the process began, as the
    system tells it; another process with the same pid has another.
    """

    pid: int
    created: float
    version: str
    host: str
    socket: str = ""
    url: str = ""
    token: str = ""

    @property
    def address(self) -> Address:
        """The socket where there is one, else the port."""
        if self.socket and SOCKETS:
            return Address(Path(self.socket))
        return Address(None, self.url, self.token)


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder of an engine, with the names of the files in it."""

    folder: Path

    @classmethod
    def own(cls) -> Home:
        """The user's, or the one that CODEPROMPT_HOME names."""
        given = os.environ.get(HOME)
        if given:
            return cls(Path(given).expanduser().absolute())
        from platformdirs import user_state_path

        return cls(user_state_path("codeprompt", appauthor=False))

    @property
    def lock(self) -> Path:
        """Locked while an engine lives."""
        return self.folder / "engine.lock"

    @property
    def start_lock(self) -> Path:
        """Locked while somebody starts or stops an engine."""
        return self.folder / "engine.start.lock"

    @property
    def record_file(self) -> Path:
        """Where the engine listens, and who it is."""
        return self.folder / "engine.json"

    @property
    def log(self) -> Path:
        """What the engine prints."""
        return self.folder / "engine.log"

    @property
    def socket(self) -> Path:
        """Where an engine listens unless told otherwise.

        In the state folder that CODEPROMPT_HOME names, else in the user's runtime folder; a path
        too long for a socket is replaced by a short one that is made of it.
        """
        if os.environ.get(HOME):
            usual = self.folder / "run" / "engine.sock"
            if len(os.fsencode(usual)) <= LONGEST:
                return usual
            import hashlib

            key = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
            return _runtime() / key / "engine.sock"
        return _runtime() / "engine.sock"

    @property
    def address(self) -> Address | None:
        """Where the engine listens if there is one; None where only its record could say."""
        record = self.record()
        if record is not None:
            return record.address
        return Address(self.socket) if SOCKETS else None

    def record(self) -> Record | None:
        """The record that the last engine left, or None."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self.record_file.read_bytes(), type=Record)
        return None

    def write(self, record: Record) -> None:
        """Leave the record, readable by the user alone."""
        temporary = self.record_file.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.unlink()
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(record))
        os.replace(temporary, self.record_file)

    def alive(self) -> bool:
        """Whether an engine lives here: its lock is held. Looking keeps nobody else from it."""
        try:
            handle = os.open(self.lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _free(handle, self.lock)
        finally:
            os.close(handle)


def parse(text: str | Path | Address, token: str = "") -> Address:
    """An address as a user writes it: a socket's path, `unix:PATH`, or `http://HOST:PORT`."""
    if isinstance(text, Address):
        return text
    word = str(text)
    if word.startswith(("http://", "https://")):
        return Address(None, word.rstrip("/"), token)
    if "://" in word:
        raise EngineError(f"'{word}' is no address", expected="a socket's path or http://HOST:PORT")
    return Address(Path(word.removeprefix("unix:")).expanduser().absolute())


def private_folder(folder: Path) -> None:
    """Make a folder, if it is missing, that the user alone may look into.

    Raises `EngineError` where it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"The folder {folder} cannot be made: {error.strerror or error}",
            do=f"Choose another with {HOME} or --uds",
        ) from error


def check_owner(path: Path) -> None:
    """Refuse a socket that another user made, or could put another in the place of: a trap.

    Raises `EngineError`. What is not there is fine. Windows guards the user's folders by itself.
    Root may use a folder in another's (a container's volume, say) where it wants to.
    """
    if not hasattr(os, "getuid"):
        return
    trusted = {0, os.getuid()}
    around = path.parents if os.getuid() else path.parents[:1]
    for place in (path, *around):
        with contextlib.suppress(FileNotFoundError):
            found = place.lstat() if place == path else place.stat()
            open_to_all = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in trusted or (place != path and open_to_all):
                raise EngineError(
                    f"{place} belongs to another user, or can be changed by one",
                    do=f"Choose another place with {HOME} or --uds",
                )


def _free(handle: int, path: Path) -> bool:
    """Whether nobody holds a lock. Shared where that can be, so that two who look do not take each
    other for an engine."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


def _runtime() -> Path:
    import warnings

    from platformdirs import user_runtime_path

    with warnings.catch_warnings():  # where nobody keeps such folders, one below /tmp will do
        warnings.simplefilter("ignore")
        return user_runtime_path("codeprompt", appauthor=False)
