"""The database: SQLite in write-ahead mode, synced at every commit; any thread may use it.

`read` gives a session that sees one state of affairs, `write` one that holds the write lock from
its beginning (so that two writers wait for each other rather than fail) and commits at its end.
What `write` has returned from is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from codeprompt.errors import CodepromptError
from codeprompt.files import write_error
from codeprompt.service.state.errors import StateError
from codeprompt.service.state.migrate import upgrade

FILE = "state.db"
BUSY_SECONDS = 30
"""How long a writer waits for another."""


class Store:
    """One state folder; made by `Store.open`.

    folder: mode 0700. lock: held by whoever brings files and rows into step, over all processes.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        self.writing = engine.execution_options(write=True)
        self.lock = FileLock(folder / "files.lock")
        self._looking: sqlite3.Connection | None = None
        self._look = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the state in a folder, made if absent, at this version's schema.

        Raises `StateError` where it is damaged or a newer version wrote it, `CodepromptError`
        where the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _only_ours(folder)
            path = folder / FILE
            engine = _engine(path)
            with FileLock(folder / "schema.lock"):
                upgrade(engine, path)
            os.chmod(path, 0o600)
        except OSError as error:
            raise write_error(folder, error) from error
        except DatabaseError as error:
            raise _damaged(folder / FILE, error) from error
        return cls(folder, engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session to read with."""
        with Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end, or not at all.

        Raises `CodepromptError` where the disk is full.
        """
        try:
            with Session(self.writing) as session, session.begin():
                yield session
        except OperationalError as error:
            raise CodepromptError(
                f"{self.folder / FILE} cannot be written: {error.orig}",
                do="Free some space or look at who holds it, then try again",
            ) from error

    def changes(self) -> int:
        """A number that is another after every commit, of whatever process; quick to ask for.

        The file's times would not do: two commits may come within one tick of the system's clock.
        """
        with self._look:
            if self._looking is None:
                self._looking = sqlite3.connect(self.folder / FILE, check_same_thread=False)
            (number,) = self._looking.execute("PRAGMA data_version").fetchone()
            return int(number)

    def check(self) -> str:
        """What SQLite says of the file's integrity: `ok`, or the first thing that is wrong."""
        with self.engine.connect() as connection:
            return str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one())

    def close(self) -> None:
        """Give the file back; the write-ahead log goes into it."""
        with self._look:
            if self._looking is not None:
                self._looking.close()
                self._looking = None
        self.engine.dispose()


def _engine(path: Path) -> Engine:
    where = URL.create("sqlite", database=str(path))
    engine = create_engine(where, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, tables' changes too
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _only_ours(folder: Path) -> None:
    """Nobody else reads the state: the folder may hold a token, and packs tuned on private code."""
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        os.chmod(folder, 0o700)


def _damaged(path: Path, error: DatabaseError) -> StateError:
    return StateError(
        f"The state in {path} cannot be read: {error.orig}",
        do=f"Move {path} away (packs and checkpoints beside it stay) or restore it from a backup",
    )
