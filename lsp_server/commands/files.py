"""Source files of a workspace folder, read as documents; open ones as the editor has them. What is
left out is counted by its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.data.tree import is_generated, source_files
from codeprompt.errors import DataError
from codeprompt.languages.base import languages
from lsp_server.documents import Document, path_of
from lsp_server.failures import refused
from lsp_server.skips import by_place

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

MOST = 20_000


@dataclass
class Tree:
    """A folder's source files. left_out: how many were not taken, by reason."""

    root: Path
    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """What was left out, as a sentence; "" for nothing."""
        listed = [f"{count} x {reason}" for reason, count in sorted(self.left_out.items())]
        return f"Left out: {', '.join(listed)}." if listed else ""


async def folder_files(server: CodepromptServer, given: dict[str, Any]) -> Tree:
    """The files of the folder that is meant: {folder} or {uri}, else the first open one."""
    named = given.get("folder") or given.get("uri")
    path = path_of(named) if isinstance(named, str) else None
    root = path if path is not None and path.is_dir() else server.folders.root_of(path)
    if root is None:
        raise refused("No folder is open; give {folder: URI}")
    from codeprompt.client.aio import apart

    tree = Tree(root)
    await apart(_list, tree)
    return tree


def _list(tree: Tree) -> None:
    for file in source_files(tree.root, languages(), tree.left_out):
        if len(tree.paths) == MOST:
            tree.left_out[f"files beyond {MOST:,}"] += 1
        else:
            tree.paths.append(file.path)


async def read_document(server: CodepromptServer, path: Path, tree: Tree) -> Document | None:
    """A file as a document, if it has functions; None where it is left out, which is counted."""
    uri = path.as_uri()
    opened = server.documents.get(uri)
    if opened is not None:
        return opened
    from codeprompt.client.aio import apart

    try:
        data = await apart(path.read_bytes)
    except OSError:
        tree.left_out["unreadable file"] += 1
        return None
    reason = _unwanted(data) or _unset(server, path, tree.root, len(data))
    if reason:
        tree.left_out[reason] += 1
        return None
    text = data.decode("utf-8")
    encoding = server.documents.encoding
    document = Document(uri, text, encoding=encoding, opened=False)
    try:
        return document if document.functions else None
    except DataError:
        tree.left_out["file that cannot be parsed"] += 1
        return None


def _unwanted(data: bytes) -> str:
    """What a file's text says against it, "" for nothing."""
    if b"\0" in data:
        return "binary file"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "file that is not UTF-8"
    return "generated file" if is_generated(data) else ""


def _unset(server: CodepromptServer, path: Path, root: Path, size: int) -> str:
    """What the settings for a file say against it, "" for nothing."""
    settings = server.folders.of(path)
    if by_place(path, root, settings):
        return "file that the settings exclude"
    if size > settings.max_file_kb * 1000:
        return f"file over {settings.max_file_kb} KB"
    return ""
