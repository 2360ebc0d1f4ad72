"""Writing that a crash cannot halve: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from codeprompt.errors import CodepromptError


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place only if the block succeeds.

    durable: wait for the disk; what can be made again, and is verified when read, need not.

    Raises `CodepromptError` where the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if durable:
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
        os.chmod(temporary, 0o644 & ~_umask())
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (no-op where folders cannot be opened)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_error(path: Path, error: OSError) -> CodepromptError:
    """The user's view of a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CodepromptError(
            f"The disk is full while writing {path}; the file there before is untouched",
            do="Free some space and run the same command again (with --resume for a tuning run)",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CodepromptError(
            f"{path} cannot be written: {error.strerror}", do="Choose another place"
        )
    return CodepromptError(f"{path} cannot be written: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
