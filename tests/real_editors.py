"""Real editors under test: a project with a real module, the engine of its own that answers, and
what an editor's script has seen."""

from __future__ import annotations

import colorsys
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.edited import World, project, world

ROOT = Path(__file__).parents[1]
EDITORS = ROOT / "editors"
SCRIPTS = Path(__file__).parent / "editors"
MODULE = Path(colorsys.__file__)
"""A module of Python's own whose functions have no documentation."""
PATIENT = "[hover]\nbudget = 60000\nminimumConfidence = 0.0\n"
"""One hover waits for its answer, instead of asking again."""
WAIT, LIMIT = 100, 400
"""Seconds for one thing to happen, and for the whole visit."""


@dataclass
class Visit:
    """A project that an editor is to open. module: the file; ignored: one that git ignores."""

    root: Path
    module: Path
    ignored: Path
    env: Mapping[str, str]
    seen: Path

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run an editor until it ends; what its script saw. Fails with its output otherwise."""
        output = self.output(*command, env=env)
        assert self.seen.is_file(), output
        found: dict[str, Any] = json.loads(self.seen.read_text(encoding="utf-8"))
        assert found.get("failure") is None, f"{found}\n{output}"
        return found

    def output(self, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run an editor until it ends; what it wrote."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        return done.stdout


@contextmanager
def visit() -> Iterator[Visit]:
    """A git repository with `colors.py` (Python's `colorsys`), and an engine with packs."""
    files = {
        "colors.py": MODULE.read_text(encoding="utf-8"),
        "made.py": "def made(x):\n    return x\n",
        ".gitignore": "made.py\n",
        ".codeprompt/editor.toml": PATIENT,
    }
    with world() as engine, project(files) as root:
        subprocess.run(["git", "init", "-q", root], check=True)
        yield Visit(root, root / "colors.py", root / "made.py", env_of(engine, root),
                    engine.home / "seen.json")  # fmt: skip


def env_of(engine: World, root: Path) -> dict[str, str]:
    """The environment of an editor: our scripts on its path, its own folders empty."""
    scripts = str(Path(sys.executable).parent)
    folders = ("HOME", *(f"XDG_{kind}_HOME" for kind in ("CONFIG", "DATA", "STATE", "CACHE")))
    nowhere = {name: str(engine.home / name.lower()) for name in folders}
    return {
        **engine.env,
        **nowhere,
        "PATH": os.pathsep.join((scripts, os.environ["PATH"])),
        "TERM": "dumb",
        "TMPDIR": str(engine.home),
        "CODEPROMPT_SEEN": str(engine.home / "seen.json"),
        "CODEPROMPT_IGNORED": str(root / "made.py"),
        "CODEPROMPT_SECONDS": str(WAIT),
    }


def needed(program: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (apt-get install {package})")
    return found


def snippet(readme: Path, language: str) -> str:
    """The first block of a language in a README, with the path that it stands for."""
    found = re.search(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
    assert found is not None, f"{readme} has no block of {language}"
    return found[1].replace("/path/to/codeprompt", str(ROOT))
