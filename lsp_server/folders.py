"""Workspace folders and the settings of each, kept until the editor says that they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.documents import path_of
from lsp_server.settings import SECTION, Settings, nearest_file, read, read_file

if TYPE_CHECKING:
    from lsp_server.protocol import HardenedProtocol


class Folders:
    """Where files belong, and what is set there. tell: gets sentences about unfit settings."""

    def __init__(self, protocol: HardenedProtocol, tell: Callable[[str], None]) -> None:
        self.protocol, self._tell = protocol, tell
        self.asks = False
        self.roots: dict[Path, str] = {}
        self._base = Settings()
        self._loaded: dict[Path | None, Settings] = {}
        self._files: dict[tuple[Path, int, Path | None], Settings] = {}
        self._told: set[str] = set()
        self.ready = asyncio.Event()

    def begin(self, params: types.InitializeParams) -> None:
        """Folders and the editor's initial options."""
        listed = params.workspace_folders
        uris = [folder.uri for folder in listed] if listed else [params.root_uri or ""]
        if not listed and not params.root_uri and params.root_path:
            uris = [Path(params.root_path).as_uri()]
        self.add(uris)
        options = params.initialization_options
        self.push(options.get(SECTION, options) if isinstance(options, dict) else options)

    def add(self, uris: Iterable[str]) -> None:
        """Folders that were opened."""
        for uri in uris:
            path = path_of(uri)
            if path is not None:
                self.roots[path] = uri

    def remove(self, uris: Iterable[str]) -> None:
        """Folders that were closed."""
        for uri in uris:
            path = path_of(uri)
            if path is not None:
                self.roots.pop(path, None)

    def root_of(self, path: Path | None) -> Path | None:
        """The folder that a file belongs to: the deepest open one, else its git repository."""
        if path is None:
            return next(iter(self.roots), None)
        inside = [root for root in self.roots if path.is_relative_to(root)]
        if inside:
            return max(inside, key=lambda root: len(root.parts))
        return next((folder for folder in path.parents if (folder / ".git").exists()), None)

    def push(self, values: Any) -> None:
        """Settings that the editor sent unasked: the ground for all folders."""
        self._base, problems = read(values, Settings())
        self._loaded.clear()
        self._files.clear()
        self._say(problems)

    async def load(self) -> None:
        """Ask the editor for the settings of every folder, where it can be asked."""
        roots: list[Path | None] = [None, *self.roots]
        if self.asks:
            items = [
                types.ConfigurationItem(scope_uri=self.roots[r] if r else None, section=SECTION)
                for r in roots
            ]
            try:
                found = await self.protocol.ask(
                    types.WORKSPACE_CONFIGURATION, types.ConfigurationParams(items=items)
                )
            except (TimeoutError, JsonRpcException):
                found = None
            answers = found if isinstance(found, list) else []
            for root, values in zip(roots, answers, strict=False):
                self._loaded[root], problems = read(values, self._base)
                self._say(problems)
        self._files.clear()
        self.ready.set()

    def of(self, path: Path | None) -> Settings:
        """The settings for a file: the editor's for its folder, then the nearest file's."""
        root = self.root_of(path)
        base = self._loaded.get(root) or self._loaded.get(None) or self._base
        file = nearest_file(path, root)
        if file is None:
            return base
        try:
            key = (file, file.stat().st_mtime_ns, root)
        except OSError:
            return base
        if key not in self._files:
            self._files[key], problems = read_file(file, base)
            self._say(problems)
        return self._files[key]

    def _say(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                self._tell(problem)
