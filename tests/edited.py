"""What servers in real editors need: an engine of their own with real packs, and the editors'
clients with captured capabilities (`tests/editors`: VS Code, Neovim, Emacs, Helix)."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types
from lsprotocol.converters import get_converter
from pytest_lsp import LanguageClient, make_test_lsp_client

from codeprompt.backbones.decoding import Decoding
from codeprompt.pack import store
from tests.editing import COMMAND
from tests.serviced import pack

CAPTURED = Path(__file__).parent / "editors"
EDITORS = sorted(path.stem.removeprefix("caps-") for path in CAPTURED.glob("caps-*.json"))
SECONDS = 120.0
"""For anything that a test waits for on a busy machine."""

SOURCE = '''"""Sums."""


def add(first, second):
    """Add two numbers.

    Args:
        first: one
        second: another
    """
    return first + second


def total(values):
    result = 0
    for value in values:
        result = add(result, value)
    return result


class Queue:
    def push(self, item):
        self.items.append(item)
        return len(self.items)
'''


def accuracy(value: float, low: float) -> dict[str, Any]:
    """A score as `tune` writes it on a card."""
    return {"metric": "accuracy", "value": value, "n": 200, "signature": "s", "split": "dev",
            "interval": [low, min(100.0, value + 5)], "parts": {}}  # fmt: skip


F1 = {"metric": "f1", "value": 70.0, "n": 200, "signature": "s", "split": "dev",
      "parts": {"precision": 72.0, "recall": 68.0}}  # fmt: skip


def write_packs(folder: Path, *, low: float = 80.0) -> None:
    """Packs of hard prompts on the built-in backbone: summarize, translate, defect.

    low: the lower end of the defect pack's accuracy, where never warning has 60.
    """
    greedy = Decoding(max_new_tokens=20)
    store.save(pack(called="summarize", target_length=20, decoding=greedy), folder / "summarize")
    store.save(
        pack("translate", called="translate", target_length=20, decoding=greedy),
        folder / "translate",
    )
    write_defect(folder / "defect", low=low)


def write_defect(folder: Path, *, low: float, threshold: float = 0.0) -> None:
    """A defect pack that warns about everything from its threshold on."""
    made = store.with_card(
        pack("defect", called="defect"),
        threshold=threshold,
        base_rate=0.4,
        scores=[accuracy(low + 5, low), F1],
    )
    store.save(made, folder)


@dataclass
class World:
    """Folders of an engine of its own, and the environment that leads to it."""

    home: Path
    data: Path
    env: dict[str, str] = field(default_factory=dict)


@contextmanager
def world(fill: Callable[[Path], None] = write_packs) -> Iterator[World]:
    """State and data folders; the engine that was started for them is stopped at the end."""
    from codeprompt.client import Home, stop

    with tempfile.TemporaryDirectory(prefix="codeprompt-lsp-", ignore_cleanup_errors=True) as name:
        home, data = Path(name) / "home", Path(name) / "data"
        home.mkdir()
        fill(data / "packs")
        env = {"CODEPROMPT_HOME": str(home), "CODEPROMPT_DATA": str(data)}
        made = World(home, data, {**os.environ, **env, "OMP_NUM_THREADS": "1"})
        try:
            yield made
        finally:
            stop(home=Home(home))


class Editor:
    """A client with the capabilities of a real editor, which does what one would with edits."""

    def __init__(self, name: str) -> None:
        told = json.loads((CAPTURED / f"caps-{name}.json").read_text(encoding="utf-8"))
        self.name = name
        self.capabilities = get_converter().structure(told["caps"], types.ClientCapabilities)
        self.client: LanguageClient = make_test_lsp_client()
        self.statuses: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self.edits: list[types.ApplyWorkspaceEditParams] = []
        self.questions: list[types.ShowMessageRequestParams] = []
        self.presses: str | None = None
        self.refreshed = 0
        self._changed = asyncio.Event()
        self._listen()

    def _listen(self) -> None:
        client = self.client
        # lsprotocol takes an action with a command for a command, and makes a text of it.
        client.protocol._converter.register_structure_hook(
            types.Command | types.CodeAction, self._action
        )

        @client.feature("codeprompt/status")
        def status(params: Any) -> None:
            self.statuses.append(plain(params))
            self._changed.set()

        @client.feature("codeprompt/job")
        def job(params: Any) -> None:
            self.jobs.append(plain(params))
            self._changed.set()

        @client.feature(types.WORKSPACE_APPLY_EDIT)
        def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.edits.append(params)
            return types.ApplyWorkspaceEditResult(applied=True)

        @client.feature(types.CLIENT_REGISTER_CAPABILITY)
        def register(params: types.RegistrationParams) -> None:
            return None

        @client.feature(types.WINDOW_SHOW_MESSAGE_REQUEST)
        def ask(params: types.ShowMessageRequestParams) -> types.MessageActionItem | None:
            self.questions.append(params)
            self._changed.set()
            return types.MessageActionItem(title=self.presses) if self.presses else None

        @client.feature(types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH)
        def renew(params: types.TextDocumentContentRefreshParams) -> None:
            self.refreshed += 1

        for method in (types.WORKSPACE_CODE_LENS_REFRESH, types.WORKSPACE_INLAY_HINT_REFRESH):
            client.feature(method)(_nothing)

    def _action(self, value: Any, kind: Any) -> types.Command | types.CodeAction:
        named = isinstance(value.get("command"), str)
        chosen = types.Command if named else types.CodeAction
        return self.client.protocol._converter.structure(value, chosen)

    async def start(
        self, env: Mapping[str, str], root: Path | None, options: Any = None
    ) -> types.InitializeResult:
        """Start the server as this editor does, and open a folder."""
        await self.client.start_io(*COMMAND, env=dict(env))
        folders = [types.WorkspaceFolder(uri=root.as_uri(), name=root.name)] if root else None
        params = types.InitializeParams(
            capabilities=self.capabilities,
            root_uri=root.as_uri() if root else None,
            workspace_folders=folders,
            initialization_options=options,
        )
        if options is not None:
            self.client.set_configuration({"codeprompt": options})
        return await self.client.initialize_session(params)

    async def stop(self) -> None:
        """Leave as the protocol says."""
        await self.client.shutdown_session()
        await self.client.stop()

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something the server tells makes a condition true."""
        async with asyncio.timeout(SECONDS):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def ready(self) -> None:
        """The engine answers."""
        await self.until(lambda: self.statuses and self.statuses[-1]["state"] == "ready")

    def open(self, path: Path, text: str, language: str = "python") -> str:
        """Open a document; its URI."""
        item = types.TextDocumentItem(uri=path.as_uri(), language_id=language, version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))
        return item.uri

    async def hover(self, uri: str, line: int, character: int) -> str | None:
        """What a hover shows."""
        found = await self.client.text_document_hover_async(
            types.HoverParams(
                text_document=types.TextDocumentIdentifier(uri=uri),
                position=types.Position(line=line, character=character),
            )
        )
        return found.contents.value if found is not None else None  # type: ignore[union-attr]

    async def hovers(self, uri: str, line: int, character: int) -> str:
        """What a hover shows once it is computed."""
        async with asyncio.timeout(SECONDS):
            while True:
                text = await self.hover(uri, line, character)
                assert text is not None
                if "later hover" not in text and "next hover" not in text:
                    return text
                await asyncio.sleep(0.05)

    async def actions(
        self, uri: str, line: int, *, only: list[str] | None = None, diagnostics: Any = ()
    ) -> list[Any]:
        """What is offered at a line."""
        place = types.Position(line=line, character=4)
        found = await self.client.text_document_code_action_async(
            types.CodeActionParams(
                text_document=types.TextDocumentIdentifier(uri=uri),
                range=types.Range(start=place, end=place),
                context=types.CodeActionContext(diagnostics=list(diagnostics), only=only),
            )
        )
        return list(found or [])

    async def command(self, name: str, *arguments: Any) -> Any:
        """Run a command."""
        return await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(command=name, arguments=list(arguments))
        )


def _nothing(params: Any) -> None:
    return None


def plain(value: Any) -> Any:
    """The named tuples that pygls makes of unknown messages, as plain values."""
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@contextmanager
def project(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with files."""
    with tempfile.TemporaryDirectory(prefix="project-") as name:
        root = Path(name).resolve()
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        yield root


def applied(text: str, edits: Any) -> str:
    """A text after edits in UTF-16 or any encoding of plain ASCII lines."""
    lines = text.split("\n")

    def offset(position: types.Position) -> int:
        return sum(len(line) + 1 for line in lines[: position.line]) + position.character

    for edit in sorted(edits, key=lambda one: offset(one.range.start), reverse=True):
        text = text[: offset(edit.range.start)] + edit.new_text + text[offset(edit.range.end) :]
    return text


def edits_of(edit: types.WorkspaceEdit, uri: str) -> list[Any]:
    """The text edits for a document, versioned or not."""
    if edit.changes:
        return list(edit.changes[uri])
    found: list[Any] = []
    for change in edit.document_changes or ():
        if isinstance(change, types.TextDocumentEdit) and change.text_document.uri == uri:
            found += change.edits
    return found
