"""The engine's process as its clients see it: started detached, looked for, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt.client.address import HOME, Home, Record
from codeprompt.errors import EngineError

if TYPE_CHECKING:
    import psutil

LOG_BYTES = 4 << 20
"""A log longer than this is moved aside at the next start, and by the engine itself (`run`)."""
SHOWN_LINES = 12
IN_BACKGROUND = ("--idle-exit", "1800")
"""Options of an engine that nobody watches; those that are given come after and win."""
CREATED_SECONDS = 2.0
"""Clocks of the system and of psutil may differ by so much about when a process began."""


def spawn(home: Home, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `codeprompt serve` apart from this process: nothing of ours reaches or ends it.

    Its own process session, no descriptors but its log, the state folder as working directory.
    Raises `EngineError` where it cannot be started.
    """
    command = [sys.executable, "-P", "-m", "codeprompt", "serve", *IN_BACKGROUND, *options]
    rotate(home.log)
    try:
        handle = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                cwd=home.folder,
                env=_environment(home),
                close_fds=True,
                start_new_session=True,
                creationflags=_flags(),
            )
        finally:
            os.close(handle)
    except OSError as error:
        raise EngineError(
            f"The engine cannot be started: {error.strerror or error} ({command[0]})"
        ) from error
    threading.Thread(target=process.wait, name="codeprompt-engine", daemon=True).start()
    return process


def rotate(log: Path) -> None:
    """Move a log that is too long aside; one such is kept."""
    try:
        if log.stat().st_size > LOG_BYTES:
            os.replace(log, log.with_name(log.name + ".1"))
    except OSError:
        return


def last_lines(log: Path, after: int = 0, count: int = SHOWN_LINES) -> list[str]:
    """The last lines of a log, from the byte `after` on."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = after if after <= size else 0
            file.seek(max(start, size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


def is_alive(record: Record) -> bool:
    """Whether the process of a record still runs: the same pid, begun at the same moment."""
    return _process(record) is not None


def end(record: Record, *, kill: bool) -> None:
    """Ask the process of a record to end, or (kill) end it. Another process is left alone."""
    import psutil

    process = _process(record)
    if process is not None:
        try:
            process.kill() if kill else process.terminate()
        except psutil.Error:
            return


def created(pid: int) -> float:
    """When a process began, in seconds since the epoch."""
    import psutil

    return float(psutil.Process(pid).create_time())


def _process(record: Record) -> psutil.Process | None:
    import psutil

    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.created) > CREATED_SECONDS:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def _environment(home: Home) -> dict[str, str]:
    """Ours; the started process has the same state folder and imports this very package."""
    environment = dict(os.environ)
    if home != Home.own():
        environment[HOME] = str(home.folder)
    root = Path(__file__).resolve().parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        paths = [str(root), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def _flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0
