"""The state: one SQLite file at this version's schema, whole after any crash."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from codeprompt.service.state import StateError, Store, migrate
from codeprompt.service.state.models import HEAD, Base, PackRow, VersionRow


def test_a_new_folder_is_at_our_schema_and_private(tmp_path: Path) -> None:
    """Write-ahead log, synced at each commit, foreign keys on; nobody else may look inside."""
    store = Store.open(tmp_path / "state % of ? things")
    with store.read() as session:
        found = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert migrate.current(session.connection()) == HEAD
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert store.check() == "ok"
    if os.name == "posix":
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((store.folder / "state.db").stat().st_mode) == 0o600
    store.close()


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    """And what raised inside `write` is not."""
    store = Store.open(tmp_path)
    with store.write() as session:
        session.add(PackRow(name="kept", task="summarize", active=None))
    with pytest.raises(ZeroDivisionError), store.write() as session:
        session.add(PackRow(name="lost", task="summarize", active=None))
        session.flush()
        raise ZeroDivisionError
    store.close()
    store = Store.open(tmp_path)
    with store.read() as session:
        assert [row.name for row in session.query(PackRow)] == ["kept"]
    store.close()


def test_a_row_without_what_it_belongs_to_is_refused(tmp_path: Path) -> None:
    """Foreign keys are enforced, not only declared."""
    store = Store.open(tmp_path)
    row = dict.fromkeys(("version", "hash", "method", "backbone", "backbone_hash", "created"), "")
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), store.write() as session:
        session.add(VersionRow(name="nobody", added=0, bytes=0, source="", retired=False, **row))
    store.close()


def test_the_migrations_make_the_tables_that_the_models_describe(tmp_path: Path) -> None:
    """A change of the models without a migration fails here; so does a stale `HEAD`."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_current_head() == HEAD
    store = Store.open(tmp_path)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()


def test_the_state_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """It says what to do."""
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StateError, match=r"newer codeprompt \(schema 9999.*Upgrade codeprompt"):
        Store.open(tmp_path)
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_a_migration_that_is_cut_short_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and the mark of the schema are one transaction."""
    whole = migrate._run

    def cut(connection: object) -> None:
        whole(connection)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "_run", cut)
    with pytest.raises(KeyboardInterrupt):
        Store.open(tmp_path)
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    monkeypatch.undo()
    store = Store.open(tmp_path)
    assert store.check() == "ok"
    store.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """Not a traceback, and what to do."""
    (tmp_path / "state.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match=r"state\.db cannot be read.*Move"):
        Store.open(tmp_path)


def test_many_open_and_write_at_once(tmp_path: Path) -> None:
    """First opening included: one migrates, the others wait; writers wait for each other."""
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def work(mine: int) -> None:
        try:
            start.wait()
            store = Store.open(tmp_path)
            for i in range(10):
                with store.write() as session:
                    count = session.query(PackRow).count()
                    session.add(PackRow(name=f"{mine}-{i}", task=str(count), active=None))
            store.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    store = Store.open(tmp_path)
    with store.read() as session:
        counts = sorted(int(row.task) for row in session.query(PackRow))
    assert counts == list(range(40)), "a writer did not see what the one before it wrote"
    store.close()


def test_every_commit_gives_another_number(tmp_path: Path) -> None:
    """Also two within one tick of the file system's clock, and those of other processes."""
    store, other = Store.open(tmp_path), Store.open(tmp_path)
    seen = {store.changes()}
    for i in range(50):
        with (store if i % 2 else other).write() as session:
            session.add(PackRow(name=f"{i}", task="summarize", active=None))
        seen.add(store.changes())
        assert store.changes() in seen
    assert len(seen) == 51
    store.close()
    other.close()
