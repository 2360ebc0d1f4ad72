"""Which lines changed since a revision, as git tells it.

Lines of the working tree: committed, staged or not, and whole files that git does not know yet.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeprompt.errors import UsageError

HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
SAFE = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "--no-pager")
DIFF = (
    "diff",
    "--unified=0",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--ignore-submodules",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--no-relative",
)


@dataclass(frozen=True, slots=True)
class Span:
    """Changed lines first..last, 1-based; `last == first - 1` where lines were only removed there.

    A removal counts for a function that goes on at both sides of it.
    """

    first: int
    last: int

    def touches(self, start: int, end: int) -> bool:
        """Whether a function of lines start..end has changed."""
        if self.last < self.first:
            return start <= self.last and self.first <= end
        return self.first <= end and start <= self.last


Changes = Mapping[Path, Sequence[Span] | None]
"""Resolved path to its changed lines; None: the whole file is new."""


def changed_since(revision: str, paths: Iterable[Path]) -> dict[Path, list[Span] | None]:
    """What changed under `paths` since `revision`. Raises `UsageError` where git cannot tell."""
    if revision.startswith("-") or not revision.strip():
        raise UsageError(f"'{revision}' is no revision", expected="a commit, a branch or a tag")
    found: dict[Path, list[Span] | None] = {}
    for root, inside in _by_repository(paths).items():
        commit = _commit(root, revision)
        names = ["--", *(os.fspath(path) for path in inside)]
        for name, spans in _spans(_git(root, *DIFF, commit, *names)).items():
            found[(root / name).resolve()] = spans
        listed = _git(
            root, "ls-files", "--others", "--exclude-standard", "-z", "--full-name", *names
        )
        for raw in listed.split(b"\0"):
            if raw:
                found[(root / os.fsdecode(raw)).resolve()] = None
    return found


def touched(changes: Changes, path: Path, start: int, end: int) -> bool:
    """Whether the function at lines start..end of a file has changed."""
    path = path.resolve()
    if path not in changes:
        return False
    spans = changes[path]
    return spans is None or any(span.touches(start, end) for span in spans)


def _by_repository(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    for path in paths:
        path = path.resolve()
        folder = path if path.is_dir() else path.parent
        top = _git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")
        found.setdefault(Path(os.fsdecode(top)), []).append(path)
    return found


def _commit(root: Path, revision: str) -> str:
    try:
        found = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except UsageError as error:
        raise UsageError(
            f"git knows no revision '{revision}' in {root}",
            expected="a commit, a branch or a tag",
            do="In CI, fetch enough history (fetch-depth: 0)",
        ) from error
    return found.decode().strip()


def _git(folder: Path, *arguments: str) -> bytes:
    """git's stdout. Raises `UsageError` with git's own words where it fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"):
        environment.pop(name, None)  # set inside hooks, where they would name another folder
    try:
        done = subprocess.run(
            ["git", *SAFE, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(
            "--changed-since asks git, which is not installed", do="Install git, or leave it out"
        ) from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise UsageError(
            f"git cannot tell what changed in {folder}: {words or f'status {done.returncode}'}",
            do="Leave out --changed-since, or run it inside a git repository",
        )
    return done.stdout


def _spans(diff: bytes) -> dict[str, list[Span]]:
    """Changed lines by file name, relative to the repository's root."""
    found: dict[str, list[Span]] = {}
    spans: list[Span] | None = None
    skip = 0
    for line in diff.split(b"\n"):
        if skip and line[:1] in (b"+", b"-"):
            skip -= 1
            continue
        if line.startswith(b"diff --git "):
            spans, skip = None, 0
        elif line.startswith(b"+++ "):
            name = _name(line[4:])
            spans = found.setdefault(name, []) if name else None
        elif spans is not None and (hunk := HUNK.match(line)):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            spans.append(Span(first, first + count - 1) if count else Span(first + 1, first))
            removed = re.match(rb"@@ -\d+(?:,(\d+))?", line)
            skip = count + int((removed and removed[1]) or 1)
    return found


def _name(raw: bytes) -> str | None:
    """A file's name after `+++ `; None for a file that is gone."""
    raw = raw.rstrip(b"\t")  # git ends a name with blanks in it by a tab
    if raw == b"/dev/null":
        return None
    if raw.startswith(b'"') and raw.endswith(b'"'):
        text = raw[1:-1].decode("latin-1").encode("latin-1").decode("unicode_escape")
        raw = text.encode("latin-1")
    return os.fsdecode(raw.removeprefix(b"b/"))
