"""Which files to check: by the rules of harvesting, and without what git ignores."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from codeprompt.data.tree import source_files
from codeprompt.errors import DataError
from codeprompt.languages import language_of
from codeprompt.languages.base import languages


def files_to_check(paths: Iterable[Path], left_out: Counter[str]) -> list[Path]:
    """Source files under `paths`, each once, in order. Raises `DataError` for a path that is not.

    left_out: gets a count of every file, or whole folder, that is passed over, by its reason.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"There is no file or folder {path}", do="Check the path")
        if path.is_file() and language_of(path) is None:
            left_out["file of no supported language"] += 1
        found.update((file.path, None) for file in source_files(path, languages(), left_out))
    kept = list(found)
    ignored = _ignored_by_git(kept)
    left_out["file ignored by git"] += len(ignored)
    return [path for path in kept if path not in ignored]


def _ignored_by_git(paths: Sequence[Path]) -> set[Path]:
    """What a `.gitignore` above the given paths, or the user's own one, ignores.

    `source_files` reads those below. A file that git tracks is not ignored; without git, nothing.
    """
    ignored: set[Path] = set()
    for root, inside in _by_root(paths).items():
        named = {os.fsencode(path.resolve()): path for path in inside}
        try:
            done = subprocess.run(
                ["git", "check-ignore", "-z", "--stdin"],
                cwd=root,
                input=b"\0".join(named) + b"\0",
                capture_output=True,
                check=False,
            )
        except OSError:
            return set()
        if done.returncode == 0:  # 1: none is ignored; 128: git will not answer here
            ignored.update(named[raw] for raw in done.stdout.split(b"\0") if raw in named)
    return ignored


def _by_root(paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """Paths by the git repository they are in; those in none are left out."""
    roots: dict[Path, Path | None] = {}
    found: dict[Path, list[Path]] = {}
    for path in paths:
        folder = path.resolve().parent
        if folder not in roots:
            above = (folder, *folder.parents)
            roots[folder] = next((one for one in above if (one / ".git").exists()), None)
        root = roots[folder]
        if root is not None:
            found.setdefault(root, []).append(path)
    return found
