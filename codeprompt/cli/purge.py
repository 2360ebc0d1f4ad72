"""List, and with --yes remove, what codeprompt keeps on this machine: engine, jobs, caches."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codeprompt.cli.options import json_option
from codeprompt.cli.output import answer, note, say, size, table
from codeprompt.errors import CodepromptError

if TYPE_CHECKING:
    from codeprompt.client.address import Home

EXAMPLES = """\b
Examples:
  codeprompt purge
  codeprompt purge --yes
  codeprompt purge --yes --packs --json

Packs are yours, and are kept unless --packs is given: those in the user's data folder, and those
that the engine took in or tuned. A project's packs and the caches of model hubs are not touched.
A running engine is stopped first.
"""
DATABASE = ("state.db", "state.db-wal", "state.db-shm", "files.lock", "schema.lock", "jobs.lock")
ENGINE = ("engine.json", "engine.tmp", "engine.log", "engine.log.1")
LOCKS = ("engine.lock", "engine.start.lock")


@dataclass(frozen=True)
class Part:
    """Something that takes room. paths: of it that exist. keep: why it stays, "" if it may go."""

    name: str
    what: str
    paths: tuple[Path, ...]
    keep: str = ""

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(_bytes(path) for path in self.paths)


@click.command("purge", epilog=EXAMPLES)
@click.option("--yes", is_flag=True, help="Remove what is listed.")
@click.option("--packs", is_flag=True, help="The user's packs too, with all their versions.")
@json_option
def purge(yes: bool, packs: bool, as_json: bool) -> None:
    """List, and with --yes remove, what codeprompt keeps on this machine: engine, jobs, caches."""
    from codeprompt.client import stop
    from codeprompt.client.address import Home

    home, stopped = Home.own(), False
    if yes:
        stopped = stop(home=home)
        with _nobody_else(home):
            found = _parts(home, packs)
            for part in found:
                _remove(part, home)
        _remove_locks(home)
    else:
        found = _parts(home, packs)
    if as_json:
        items = [
            {
                "name": part.name,
                "what": part.what,
                "paths": [str(path) for path in part.paths],
                "bytes": size_,
                "kept": part.keep or None,
                "removed": yes and not part.keep,
            }
            for part, size_ in found.items()
        ]
        answer({"items": items, "removed": yes, "stopped": stopped})
        return
    _report(found, yes, stopped)


def _report(found: dict[Part, int], yes: bool, stopped: bool) -> None:
    if stopped:
        note("The engine was stopped.")
    rows = [
        (part.name, size(bytes_), part.what, part.keep or ("removed" if yes else "goes with --yes"))
        for part, bytes_ in found.items()
    ]
    if rows:
        table(("part", "size", "what", ""), rows)
    total = sum(bytes_ for part, bytes_ in found.items() if not part.keep)
    if yes:
        say(f"Removed {size(total)}.")
    elif not rows:
        say("Nothing is kept here.")
    else:
        note(f"Nothing was removed. `codeprompt purge --yes` frees {size(total)}.")


def _parts(home: Home, packs: bool) -> dict[Part, int]:
    """Every part that is there, with its size."""
    import platformdirs

    from codeprompt.pack.lookup import user_data

    own = home.folder / "packs"
    stays = "" if packs else "kept: --packs removes it"
    needed = stays and _has_files(own)
    socket = home.socket
    parts = (
        Part(
            "engine",
            "socket, record and log",
            (*(home.folder / n for n in ENGINE), socket, socket.with_name(socket.name + ".lock")),
        ),
        Part("jobs", "tuning jobs with their checkpoints", (home.folder / "jobs",)),
        Part("uploads", "data sent for jobs", (home.folder / "uploads",)),
        Part(
            "state",
            "what is known of jobs, data and packs",
            tuple(home.folder / name for name in DATABASE),
            "kept for the packs, without the jobs" if needed else "",
        ),
        Part("cache", "what can be made again", (Path(platformdirs.user_cache_dir("codeprompt")),)),
        Part("checkpoints", "of tuning runs that were interrupted", tuple(_interrupted())),
        Part("engine's packs", "uploaded or tuned by jobs", (own,), stays),
        Part("user's packs", "found by their names", (user_data() / "packs",), stays),
    )
    found = {}
    for part in parts:
        there = tuple(path for path in part.paths if path.exists() or path.is_socket())
        if there and (_any_file(there) or part.name != "engine"):
            kept = Part(part.name, part.what, there, part.keep)
            found[kept] = kept.bytes
    return found


def _interrupted() -> Iterator[Path]:
    """Hidden folders of runs beside packs, of the project and the user, that no run uses now."""
    from filelock import FileLock, Timeout

    from codeprompt.pack.lookup import packs_folders

    for folder, where in packs_folders():
        if where == "package" or not folder.is_dir():
            continue
        for path in sorted(folder.glob(".*.tuning")):
            try:
                with FileLock(path / "lock", timeout=0):
                    yield path
            except (Timeout, OSError):
                continue


@contextmanager
def _nobody_else(home: Home) -> Iterator[None]:
    """No engine begins while this lasts."""
    from filelock import FileLock, Timeout

    if not home.folder.is_dir():
        yield
        return
    with contextlib.ExitStack() as held:
        for path in (home.start_lock, home.lock):
            try:
                held.enter_context(FileLock(path, timeout=5.0, mode=0o600))
            except Timeout:
                raise CodepromptError(
                    f"An engine was started again for {home.folder}",
                    do="Close the editors that use it, then try again",
                ) from None
        yield


def _remove(part: Part, home: Home) -> None:
    if part.name == "state" and part.keep:
        _forget_jobs(home)
    if part.keep:
        return
    for path in part.paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CodepromptError(
                f"{error.filename or path} cannot be removed: {error.strerror or error}"
            ) from error


def _forget_jobs(home: Home) -> None:
    """The database stays for its packs; jobs and data, whose files go, must go from it too."""
    from sqlalchemy import delete

    from codeprompt.service.state import Store
    from codeprompt.service.state.models import DatasetRow, JobRow

    store = Store.open(home.folder)
    try:
        with store.write() as rows:
            rows.execute(delete(JobRow))
            rows.execute(delete(DatasetRow))
    finally:
        store.close()


def _remove_locks(home: Home) -> None:
    """And the folders, where nothing is left in them."""
    if not home.folder.is_dir():
        return
    for folder in (home.socket.parent, home.folder):
        with contextlib.suppress(OSError):
            if set(path.name for path in folder.iterdir()) <= set(LOCKS):
                for name in LOCKS:
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _any_file(paths: tuple[Path, ...]) -> bool:
    return any(not path.name.endswith(".lock") for path in paths)


def _bytes(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(p.lstat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


COMMAND = purge
