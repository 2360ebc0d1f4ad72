"""Real engines in state folders of their own, and proof that nothing of them stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from codeprompt.client import Home, State, start, stop
from codeprompt.pack import save
from tests.serviced import pack

ROOT = Path(__file__).parents[1]
SECONDS = 60.0
CODE = '''def add(first, second):
    """Adds."""
    return first + second
'''


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An own state folder; at the end its engine is stopped, and nothing of it runs."""
    with own_home() as folder:
        monkeypatch.setenv("CODEPROMPT_HOME", str(folder))
        yield Home(folder)


@contextmanager
def own_home() -> Iterator[Path]:
    """A state folder with a short path, as sockets want it. No process outlives it."""
    with tempfile.TemporaryDirectory(prefix="cp-", ignore_cleanup_errors=True) as place:
        folder = Path(place) / "home"
        try:
            yield folder
        finally:
            stop(home=Home(folder), timeout=20)
            wait_until(lambda: not of_home(folder), "a process of the engine was left behind")


def of_home(folder: Path) -> list[psutil.Process]:
    """Processes that work in a state folder: engines and their trainers."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if Path(process.cwd()).is_relative_to(folder) or str(folder) in " ".join(
                process.cmdline()
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until(what: Callable[[], bool], otherwise: str, seconds: float = SECONDS) -> None:
    """Look again and again; fail with `otherwise` if it never comes true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            pytest.fail(otherwise)
        time.sleep(0.02)


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another Python process with the repository on its path; its stdout and stderr are pipes."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
    )


def serve(*options: object, before: str = "") -> subprocess.Popen[str]:
    """`codeprompt serve` in the foreground. before: what its process does before it begins."""
    code = f"import sys\n{before}\nfrom codeprompt.cli import main\nmain(['serve', *sys.argv[1:]])"
    return run_python(code, *options)


def begin(home: Home, *options: str) -> State:
    """An engine in the background that answers."""
    found, _ = start(options, home=home, timeout=SECONDS)
    return found


def write_pack(folder: Path, name: str = "summarize") -> Path:
    """A pack on the built-in backbone, as `codeprompt tune` leaves it."""
    return save(pack(), folder / name)


def functions(count: int, words: Sequence[str] = ("sum", "list", "node")) -> str:
    """So many functions, each with another name."""
    return "\n".join(
        f"def {words[i % len(words)]}_{i}(a, b):\n    return a * {i} + b\n" for i in range(count)
    )
