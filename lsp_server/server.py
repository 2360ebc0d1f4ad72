"""`CodepromptServer`: one editor's server, with what all features share.

Handlers are coroutines, and nothing else can be registered: a handler that blocks could not be
cancelled, and would hold up all input.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO, TypeVar

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from codeprompt import __version__
from codeprompt.errors import CodepromptError, PackError
from codeprompt.languages.base import find_language
from codeprompt.languages.functions import Function
from lsp_server.answers import Answers, Query
from lsp_server.debounce import Latest
from lsp_server.documents import Document, Documents
from lsp_server.editor import Editor
from lsp_server.engine import Engine
from lsp_server.failures import note
from lsp_server.features import register_all, register_for
from lsp_server.folders import Folders
from lsp_server.packs import Chosen, Packs
from lsp_server.parent import is_alive, watch_parent
from lsp_server.power import Power
from lsp_server.progress import Progresses
from lsp_server.protocol import HardenedProtocol
from lsp_server.settings import Settings
from lsp_server.shown import SCHEME, Shown
from lsp_server.skips import Skips
from lsp_server.status import Status
from lsp_server.transport import END, Reader, Writer
from lsp_server.trust import Trust

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)
SETTINGS_SECONDS = 2.0
"""For the editor's settings to come, before a feature goes on with the defaults."""


class CodepromptServer(LanguageServer):
    """One connection: documents, settings, the engine, and the features on them."""

    protocol: HardenedProtocol

    def __init__(self) -> None:
        super().__init__("codeprompt", __version__, protocol_cls=HardenedProtocol)
        self.editor = Editor()
        self.status = Status(self)
        self.folders = Folders(self.protocol, self.status.say)
        self.engine = Engine(self.status.engine)
        self.packs = Packs(Trust())
        self.answers = Answers(self.engine.ready, self.engine.lost)
        self.latest = Latest()
        self.power = Power()
        self.progresses = Progresses(self.protocol)
        self.skips = Skips(self.status.skipped)
        self.shown = Shown(self)
        self.jobs: set[str] = set()
        self.on_packs: list[Callable[[], None]] = []
        self.on_change: list[Callable[[str], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: asyncio.Future[int] | None = None
        register_all(self)

    # --- registration: coroutines only

    def feature(self, feature_name: str, options: Any = None) -> Callable[[F], F]:
        """As pygls'; raises `TypeError` for what is no coroutine function."""
        return _only_coroutines(super().feature(feature_name, options))

    def command(self, command_name: str) -> Callable[[F], F]:
        """As pygls'; raises `TypeError` for what is no coroutine function."""
        return _only_coroutines(super().command(command_name))

    def thread(self) -> Any:
        """Never: model work in the shared pool would stall all input."""
        raise TypeError("Handlers are coroutines; none runs in a thread of the pool")

    def start_tcp(self, host: str, port: int) -> None:
        """Never: pygls gives one client's replies to another."""
        raise TypeError("One server serves one editor, over its pipes")

    start_ws = start_tcp

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Into the log, never into the editor's face."""
        note(log, getattr(source, "__name__", "the server"), error)

    # --- life

    def prepare(self, params: types.InitializeParams) -> None:
        """What this editor can do decides what is registered."""
        self.editor = Editor.of(params)
        self.progresses.enabled = self.editor.progress
        self.folders.asks = self.editor.configuration
        self.folders.begin(params)
        register_for(self)
        # One that cannot be seen (the editor may count in another container) is not watched.
        if params.process_id is not None and is_alive(params.process_id):
            self.spawn(watch_parent(params.process_id, lambda: self.protocol.on_exit(1)))

    def announce(self, capabilities: types.ServerCapabilities) -> None:
        """What pygls 2.1 does not announce."""
        if self.editor.virtual and capabilities.workspace is not None:
            capabilities.workspace.text_document_content = types.TextDocumentContentOptions(
                schemes=["codeprompt"]
            )

    async def serve(self, inward: BinaryIO, outward: BinaryIO) -> int:
        """Serve one editor until it leaves; the exit code."""
        loop = asyncio.get_running_loop()
        ended = self._ended = loop.create_future()

        def end(code: int) -> None:
            self.protocol.leaving = True
            if not ended.done():
                ended.set_result(code)

        def deliver(message: Any) -> None:
            if message is END:
                end(1)
            elif not ended.done():
                self.protocol.receive(message)

        self.protocol.on_exit = end
        writer = Writer(outward, lambda: _call(loop, end))
        self.protocol.set_writer(writer)
        Reader(inward, deliver).start(loop)
        code: int = await ended
        for task in self.tasks:
            task.cancel()
        await self.answers.close()
        await self.engine.close()
        self.shown.close()
        writer.close()
        return code

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """What runs in the background."""
        return list(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background; its faults are logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, CodepromptError | JsonRpcException | TimeoutError):
                self.status.log(str(error))
            else:
                note(log, "a background task", error)

    # --- what features share

    @property
    def documents(self) -> Documents:
        """What the editor has open."""
        return self.protocol.documents

    def settings_of(self, document: Document) -> Settings:
        """Those of a document's folder."""
        return self.folders.of(document.path)

    def file_of(self, document: Document) -> str:
        """A document's path within its folder, "" for one without a file."""
        path, root = document.path, self.folders.root_of(document.path)
        if path is None:
            return ""
        inside = root is not None and path.is_relative_to(root)
        return path.relative_to(root).as_posix() if root is not None and inside else path.name

    def changed(self, uri: str) -> None:
        """Tell the features that push about a document that came, changed or went."""
        for look in self.on_change:
            look(uri)

    async def usable(self, uri: str) -> tuple[Document, Settings] | None:
        """An open document that features work on, with its settings; None: it is left alone.

        Documents of our own (translations, reports) are.
        """
        document = self.documents.get(uri)
        if document is None or uri.startswith(f"{SCHEME}:"):
            return None
        if not self.folders.ready.is_set():
            try:
                await asyncio.wait_for(self.folders.ready.wait(), SETTINGS_SECONDS)
            except TimeoutError:
                self.folders.ready.set()
        settings = self.settings_of(document)
        root = self.folders.root_of(document.path)
        if await self.skips.reason(document, settings, root):
            return None
        return document, settings

    def rests(self, settings: Settings) -> bool:
        """Whether passive features rest now; told in the status."""
        reason = self.power.rest(settings.pause)
        self.status.resting(reason)
        return bool(reason)

    async def pack_for(
        self, task: str, document: Document, settings: Settings, target: str = ""
    ) -> Chosen:
        """The pack that answers. Raises `CodepromptError` where there is none."""
        if self.engine.client is None or not self.packs.listed:
            await self.refresh_packs()
        elif self.packs.stale:
            self.packs.outdate()
            self.spawn(self.refresh_packs())
        wanted = getattr(settings.packs, task, "")
        found = self.choose(task, document, settings, target)
        if found is None:
            spoken = _spoken(task, document, target)
            self.status.missing(task, wanted, spoken)
            raise PackError(
                f"No pack called '{wanted}' answers for {task}" if wanted
                else f"There is no pack for {task}{spoken}",
                do=f"Make one (codeprompt tune {task}), or name one in codeprompt.packs.{task}",
            )  # fmt: skip
        self.status.chosen(found)
        return found

    def choose(
        self, task: str, document: Document, settings: Settings, target: str = ""
    ) -> Chosen | None:
        """The pack that answers, among those known of; no engine is asked."""
        return self.packs.choose(
            task,
            getattr(settings.packs, task, ""),
            document.path,
            self.folders.root_of(document.path),
            language=document.language.name if document.language else "",
            target=target,
        )

    async def refresh_packs(self) -> None:
        """Read the engine's list of packs; features look again where it has changed."""
        self.engine.threads = self.folders.of(None).threads
        client = await self.engine.ready()
        if await self.packs.refresh(client):
            for look in self.on_packs:
                look()

    async def send_project_packs(self, document: Document) -> None:
        """Offer a project's own packs to the engine, once a person agrees."""
        root = self.folders.root_of(document.path)
        client = await self.engine.ready()
        new = await self.packs.send_project(client, document.path, root, self.shown.agrees)
        if new or not self.packs.listed:
            await self.refresh_packs()

    async def query(
        self,
        task: str,
        document: Document,
        function: Function,
        settings: Settings,
        target: str = "",
    ) -> Query:
        """A question about a function, with the pack for it. Raises `CodepromptError`."""
        pack = await self.pack_for(task, document, settings, target)
        return self.question(task, document, function, pack, target)

    def question(
        self, task: str, document: Document, function: Function, pack: Chosen, target: str = ""
    ) -> Query:
        """A question about a function to a pack, with what the pack wants to know."""
        imports = document.imports if pack.facts and pack.facts.imports else ""
        return Query(task, function, pack, target, self.file_of(document), imports)


def _spoken(task: str, document: Document, target: str) -> str:
    """The languages of a question in words, with a blank in front."""
    if document.language is None:
        return ""
    own = document.language.title
    if task != "translate":
        return f" in {own}"
    return f" from {own}" + (f" to {find_language(target).title}" if target else "")


def _call(loop: asyncio.AbstractEventLoop, end: Callable[[int], None]) -> None:
    """End from another thread, unless the loop has ended already."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(end, 1)


def _only_coroutines(register: Callable[[F], F]) -> Callable[[F], F]:
    def decorator(handler: F) -> F:
        if not asyncio.iscoroutinefunction(handler):
            raise TypeError(f"{handler.__name__} must be a coroutine function")
        return register(handler)

    return decorator
