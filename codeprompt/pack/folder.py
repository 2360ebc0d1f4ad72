"""A pack's folder on disk: written whole or not at all, one writer at a time.

A folder cannot be replaced in one step, so it is done under a lock in three, each of which leaves
a whole pack behind: the new one is written and synced as `.NAME.new`, the old one moves aside to
`.NAME.previous`, the new one takes its place. Whoever comes next finishes what a crash left.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from codeprompt.errors import PackError
from codeprompt.files import sync_folder, write_error
from codeprompt.pack.lookup import CARD, previous

TENSORS = "prompt.safetensors"
STRAY = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that file managers leave; they go with an overwritten pack."""
LOCK_SECONDS = 120.0


def check_target(folder: Path) -> None:
    """Whether `save` may write there; a long run asks before it starts. Raises `PackError`."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise PackError(f"{folder} is not a folder", do="Choose another place for the pack")
    entries = {entry.name for entry in folder.iterdir()} - STRAY
    if entries and CARD not in entries:
        raise PackError(
            f"{folder} exists and is no pack",
            expected="a new place, an empty folder or a pack to replace",
            do="Choose another place, so that nothing of yours is overwritten",
        )
    if more := sorted(entries - {CARD, TENSORS}):
        raise PackError(
            f"{folder} holds more than a pack: {', '.join(more[:5])}",
            do="Move these files away or choose another place for the pack",
        )


def replace(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files as a pack's folder, in place of one that is there; returns its full path.

    Raises `PackError` where the folder is not a pack's, `CodepromptError` where the disk is full
    or the place cannot be written; what was there before stays as it was.
    """
    folder = _target(folder)
    fresh = _fresh(folder)
    try:
        check_target(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _settle(folder)
            check_target(folder)
            try:
                fresh.mkdir()
                for name, data in files.items():
                    _write(fresh / name, data)
                sync_folder(fresh)
                _swap(fresh, folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(previous(folder), ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def restore(folder: Path) -> None:
    """Put back a pack that a crash left moved aside."""
    if folder.exists() or not (previous(folder) / CARD).is_file():
        return
    try:
        with _locked(folder):
            _settle(folder)
    except OSError as error:
        raise PackError(
            f"{folder} was left half replaced, and cannot be put back here: {error.strerror}",
            do=f"Rename {previous(folder)} to {folder}",
        ) from error


def member(folder: Path, name: str, limit: int) -> Path:
    """A regular file of the folder itself, within a size."""
    path = folder / name
    try:
        inside = path.resolve(strict=True).parent == folder.resolve()
        about = path.stat()
    except FileNotFoundError:
        raise PackError(
            f"{folder} lacks {name}", do="Restore it from where it came from, or tune it again"
        ) from None
    except (OSError, RuntimeError) as error:
        raise PackError(f"{path} cannot be read: {error}") from error
    if not inside:
        raise PackError(f"{path} is a link out of the pack", expected="a file inside the folder")
    if not stat.S_ISREG(about.st_mode):
        raise PackError(f"{path} is not a file")
    if about.st_size > limit:
        raise PackError(f"{path} has {about.st_size:,} bytes", expected=f"at most {limit:,}")
    if not os.access(path, os.R_OK):
        raise PackError(f"{path} cannot be read: permission denied")
    return path


def _target(folder: str | Path) -> Path:
    """The place itself: a link is followed, so that the link stays one."""
    path = Path(folder).expanduser()
    path = path.resolve() if path.is_symlink() else path.absolute()
    if not path.name or path.name == "..":
        raise PackError(f"{folder} names no folder", do="Give the pack a folder of its own")
    return path


def _fresh(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.new"


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(fresh: Path, folder: Path) -> None:
    """Put the new folder in the old one's place; the old one is moved aside first."""
    aside = previous(folder)
    if folder.is_dir():
        if (folder / CARD).exists():
            os.rename(folder, aside)
        else:
            shutil.rmtree(folder)  # empty but for stray files: `check_target` saw to that
    try:
        os.rename(fresh, folder)
    except OSError:
        with suppress(OSError):
            if aside.exists():
                os.rename(aside, folder)
        raise
    sync_folder(folder.parent)


def _settle(folder: Path) -> None:
    """Finish what a crash left; under the lock."""
    aside, fresh = previous(folder), _fresh(folder)
    if fresh.exists():
        shutil.rmtree(fresh)
    if not aside.exists():
        return
    if (folder / CARD).exists():
        shutil.rmtree(aside)
    elif not folder.exists():
        os.rename(aside, folder)
        sync_folder(folder.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, over all processes."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder.parent / f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise PackError(
            f"Another process has been writing {folder} for {LOCK_SECONDS:.0f} s",
            do="Wait for it to end, then run the command again",
        ) from None
    try:
        yield
    finally:
        lock.release()


def identity(folder: Path) -> tuple[int, int] | None:
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns
