"""Source files of a workspace folder, read as documents; open ones as the editor has them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.data.tree import is_generated, source_files
from codeprompt.errors import DataError
from codeprompt.languages.base import languages
from lsp_server.documents import Document, path_of
from lsp_server.failures import refused

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

MOST = 20_000


async def folder_files(server: CodepromptServer, given: dict[str, Any]) -> tuple[Path, list[Path]]:
    """The folder that is meant ({folder} or {uri}, else the first open one), and its files."""
    named = given.get("folder") or given.get("uri")
    path = path_of(named) if isinstance(named, str) else None
    root = path if path is not None and path.is_dir() else server.folders.root_of(path)
    if root is None:
        raise refused("No folder is open; give {folder: URI}")
    from codeprompt.client.aio import apart

    left_out: Counter[str] = Counter()
    found = await apart(_listed, root, left_out)
    for reason, count in left_out.items():
        server.status.log(f"Left out of {root.name}: {count} x {reason}")
    return root, found


def _listed(root: Path, left_out: Counter[str]) -> list[Path]:
    found = []
    for file in source_files(root, languages(), left_out):
        found.append(file.path)
        if len(found) == MOST:
            break
    return found


async def read_document(server: CodepromptServer, path: Path) -> Document | None:
    """A file as a document; None where it is generated, binary or cannot be read."""
    uri = path.as_uri()
    opened = server.documents.get(uri)
    if opened is not None:
        return opened
    from codeprompt.client.aio import apart

    try:
        data = await apart(path.read_bytes)
    except OSError:
        return None
    if b"\0" in data or is_generated(data):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    encoding = server.documents.encoding
    document = Document(uri, text, encoding=encoding, opened=False)
    try:
        return document if document.functions else None
    except DataError:
        return None
