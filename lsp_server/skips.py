"""Files that are left alone: too big, generated, vendored, ignored by git, excluded, or of a
language that is none of ours. Each is told with its reason, and when there is none any more."""

from __future__ import annotations

import asyncio
import fnmatch
import os
from collections.abc import Callable
from pathlib import Path

from codeprompt.data.tree import GENERATED_NAMES, VENDORED, is_generated
from lsp_server.documents import Document
from lsp_server.settings import Settings

GIT_SECONDS = 2.0
Tell = Callable[[Document, str], None]


class Skips:
    """Reasons by document. tell: called when a document's reason changes, "" for none."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._reasons: dict[str, str] = {}
        self._ignored: dict[Path, bool] = {}

    async def reason(self, document: Document, settings: Settings, root: Path | None) -> str:
        """Why a document is left alone, "" where it is not."""
        found = self._by_text(document, settings) or by_place(document.path, root, settings)
        if not found and await self._ignored_by_git(document.path):
            found = "it is ignored by git"
        if found != self._reasons.get(document.uri, ""):
            self._reasons[document.uri] = found
            self._tell(document, found)
        return found

    def closed(self, uri: str) -> None:
        """A document was closed; opened again it is told again."""
        self._reasons.pop(uri, None)

    def _by_text(self, document: Document, settings: Settings) -> str:
        if document.language is None:
            return f"'{document.language_id or 'its language'}' is no supported language"
        if len(document.data) > settings.max_file_kb * 1000:
            return f"it is larger than {settings.max_file_kb} KB"
        if is_generated(document.data):
            return "it is generated"
        return ""

    def forget(self) -> None:
        """Ask git anew: some `.gitignore` has changed."""
        self._ignored.clear()

    async def _ignored_by_git(self, path: Path | None) -> bool:
        if path is None or not path.parent.is_dir():
            return False
        if path not in self._ignored:
            self._ignored[path] = await ignored_by_git(path)
        return self._ignored[path]


def by_place(path: Path | None, root: Path | None, settings: Settings) -> str:
    """What a file's name or place says against it, "" for nothing."""
    if path is None:
        return ""
    inside = path.relative_to(root) if root and path.is_relative_to(root) else Path(path.name)
    if any(part in VENDORED for part in inside.parts[:-1]):
        return "it is in a vendored or built folder"
    if any(fnmatch.fnmatchcase(path.name.lower(), pattern) for pattern in GENERATED_NAMES):
        return "it is generated"
    if any(fnmatch.fnmatch(inside.as_posix(), pattern) for pattern in settings.exclude):
        return "the settings exclude it"
    return ""


async def ignored_by_git(path: Path) -> bool:
    """Whether git ignores a file; without git, or outside a repository, nothing is."""
    if not any((folder / ".git").exists() for folder in path.parents):
        return False
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "check-ignore", "-q", "--", os.fspath(path),
            cwd=path.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return False
    try:
        return await asyncio.wait_for(process.wait(), GIT_SECONDS) == 0
    except TimeoutError:
        process.kill()
        return False
