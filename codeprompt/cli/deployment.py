"""What `doctor` looks at of a deployment: state folder, disk, database, packs, engine, socket.

Nothing is made, started or changed: the database is opened to be read, and an engine is asked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from codeprompt import __version__
from codeprompt.cli.health import Check, checked, short
from codeprompt.cli.output import size
from codeprompt.client.address import Home, check_owner
from codeprompt.client.sight import State
from codeprompt.errors import CodepromptError, EngineError

LEAST_FREE = 200 << 20
"""Bytes that the state needs: packs, uploads, a job's checkpoints, the database's log."""
DATABASE = "state.db"


def checks(home: Home, found: State) -> Iterator[Check]:
    """Every check of a state folder and its engine."""
    yield checked("state folder", lambda: _folder(home.folder))
    yield checked("disk space", lambda: _room(home.folder))
    yield checked("database", lambda: _database(home.folder / DATABASE))
    yield checked("stored packs", lambda: _packs(home.folder))
    yield checked("engine", lambda: _engine(found))
    if found.running:
        yield checked("socket", lambda: _socket(home, found))
        yield checked("readiness", lambda: _ready(found))


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Of the database in a state folder, opened to be read; none where there is no database.

    Raises `CodepromptError` where it cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as database:
            return list(database.execute(query))
    except sqlite3.Error as error:
        raise CodepromptError(
            f"{short(path)} cannot be read: {error}",
            do="Move it away (packs and checkpoints beside it stay) or restore it from a backup",
        ) from error


def _folder(folder: Path) -> str:
    if not folder.exists():
        return f"{short(folder)} is made when an engine starts"
    about = folder.stat()
    if os.name == "posix":
        if about.st_uid not in (os.getuid(), 0):
            raise CodepromptError(f"{short(folder)} belongs to another user")
        if about.st_mode & 0o077:
            raise CodepromptError(
                f"{short(folder)} can be looked into by others", do=f"Run: chmod 700 {folder}"
            )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CodepromptError(f"{short(folder)} cannot be written to by this user")
    return f"{short(folder)}, this user's alone"


def _room(folder: Path) -> str:
    place = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        raise CodepromptError(
            f"{size(free)} are free at {short(place)}",
            expected=f"at least {size(LEAST_FREE)}",
            do="Free some space; `codeprompt purge` shows what may go",
        )
    return f"{size(free)} free"


def _database(path: Path) -> str:
    if not path.exists():
        return "none yet"
    said = rows(path.parent, "PRAGMA integrity_check(1)")[0][0]
    if said != "ok":
        raise CodepromptError(
            f"{short(path)} is damaged: {said}", do="Restore it from a backup, or move it away"
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise CodepromptError(f"{short(path)} can be read by others", do=f"Run: chmod 600 {path}")
    (schema,) = rows(path.parent, "SELECT version_num FROM alembic_version")[0]
    return f"whole ({size(path.stat().st_size)}, schema {schema})"


def _packs(folder: Path) -> str:
    """Every version that the database knows has its files, and their hash is the one known."""
    from codeprompt.pack import load

    known = rows(folder, "SELECT name, version, hash FROM pack_versions")
    for name, version, wanted in known:
        found = load(folder / "packs" / str(name) / str(version)).card.integrity
        if found != wanted:
            raise CodepromptError(
                f"The files of '{name}' version {version} are another pack's",
                do="Upload it again",
            )
    return f"{len(known)} versions verified" if known else "none"


def _engine(found: State) -> str:
    if not found.running:
        return "none runs; whoever needs one starts it"
    if found.health is None:
        raise EngineError(
            f"Process {found.pid} holds {short(found.home.folder)} and does not answer",
            do="Look again in a moment; then see its log, or `codeprompt engine stop`",
        )
    if found.health.version != __version__:
        raise EngineError(
            f"Version {found.health.version} runs",
            expected=__version__,
            do="`codeprompt engine stop`; the next client starts this version",
        )
    return f"process {found.pid}, version {found.health.version}, at {found.address}"


def _socket(home: Home, found: State) -> str:
    """Nobody else may ask over it, nor read the token that the record may hold."""
    private = [home.record_file] if home.record_file.exists() else []
    path = found.address.socket if found.address else None
    if path is not None:
        check_owner(path)
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise EngineError(f"{path} is no socket")
        private.append(path)
    for file in private:
        if os.name == "posix" and stat.S_IMODE(file.lstat().st_mode) & 0o077:
            raise EngineError(f"{file} is open to others", do="Restart the engine")
    return f"{path or (found.address.url if found.address else '-')}, for this user alone"


def _ready(found: State) -> str:
    from codeprompt.client import Client

    if found.address is None:
        raise EngineError("The engine left no word where it listens")
    with Client(found.address, name="doctor") as client:
        client.ready()
    return "a backbone answers"
