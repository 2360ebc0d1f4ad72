"""What people are shown: virtual documents (or temporary files), questions, refreshes."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.documents import path_of

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer

SCHEME = "codeprompt"
MOST = 64
SHOW_SECONDS = 15.0
"""For an editor to show a document: a busy one takes long, and has shown it all the same."""
REPORT = "-summary.md"
TRUST, REFUSE = "Trust and use", "Leave it"


class Shown:
    """Documents of our own, by URI."""

    def __init__(self, server: CodepromptServer) -> None:
        self.server = server
        self.texts: dict[str, str] = {}
        self._folder: Path | None = None
        self._asking: set[Path] = set()

    async def show(self, name: str, text: str, *, focus: bool = True) -> str:
        """Show a text; its URI. name: with the ending that tells the language."""
        uri = self.keep(name, text)
        await self.open(uri, focus=focus)
        return uri

    def keep(self, name: str, text: str) -> str:
        """Keep a text to be shown later; its URI."""
        uri = self._uri(name)
        self.put(uri, text)
        return uri

    def put(self, uri: str, text: str) -> None:
        """Keep or renew a text; an editor that shows it reads it again."""
        again = uri in self.texts
        self.texts[uri] = text
        while len(self.texts) > MOST:
            self.texts.pop(next(iter(self.texts)))
        path = self._file(uri)
        if path is not None:
            path.write_text(text, encoding="utf-8")
        elif again:
            self.server.protocol.send_request(
                types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH,
                types.TextDocumentContentRefreshParams(uri=uri),
            )

    async def open(self, uri: str, *, focus: bool = True) -> None:
        """Show a text that is kept; where the editor cannot, say where it lies."""
        if not self.server.editor.shows:
            self._point_at(uri)
            return
        try:
            await self.server.protocol.ask(
                types.WINDOW_SHOW_DOCUMENT,
                types.ShowDocumentParams(uri=uri, external=False, take_focus=focus),
                seconds=SHOW_SECONDS,
            )
        except (TimeoutError, JsonRpcException):
            self._point_at(uri)

    def _point_at(self, uri: str) -> None:
        """Say where it lies: a person has asked for it, and the log is seldom open."""
        path = path_of(uri)
        self.server.protocol.notify(
            types.WINDOW_SHOW_MESSAGE,
            types.ShowMessageParams(type=types.MessageType.Info, message=f"See {path or uri}"),
        )

    def _uri(self, name: str) -> str:
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "text"
        if self.server.editor.virtual:
            return f"{SCHEME}:/{safe}"
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="codeprompt-"))
        return (self._folder / safe).as_uri()

    def _file(self, uri: str) -> Path | None:
        if uri.startswith("file:") and self._folder is not None:
            return self._folder / uri.rpartition("/")[2]
        return None

    def close(self) -> None:
        """Remove the temporary files, but for reports: they took long, and may be wanted later."""
        if self._folder is not None:
            for path in self._folder.iterdir():
                if not path.name.endswith(REPORT):
                    path.unlink(missing_ok=True)
            with suppress(OSError):
                self._folder.rmdir()

    async def choose(self, question: str, options: list[str]) -> str | None:
        """The button that a person presses; None for none, or where nobody can be asked."""
        params = types.ShowMessageRequestParams(
            type=types.MessageType.Info,
            message=question,
            actions=[types.MessageActionItem(title=option) for option in options],
        )
        try:
            found: Any = await self.server.protocol.ask(
                types.WINDOW_SHOW_MESSAGE_REQUEST, params, seconds=0
            )
        except JsonRpcException:  # an editor without such questions
            self.server.status.log(question)
            return None
        title = found.get("title") if isinstance(found, dict) else None
        return title if title in options else None

    async def agrees(self, folder: Path) -> bool | None:
        """Whether a person trusts a project's pack; None where it was not decided."""
        setting = self.server.folders.of(None).trust
        if setting != "ask":
            return setting == "always"
        if folder in self._asking:
            return None
        self._asking.add(folder)
        try:
            pressed = await self.choose(
                f"This project brings the pack '{folder.name}' ({folder}). A pack decides what the "
                "model writes here. Use it?",
                [TRUST, REFUSE],
            )
        finally:
            self._asking.discard(folder)
        if pressed is None:
            self.server.status.say(
                f"The pack '{folder.name}' of this project is not used: nobody has agreed to it. "
                "The setting codeprompt.trust 'always' does."
            )
            return None
        return pressed == TRUST

    def refresh(self, *kinds: str) -> None:
        """Have the editor ask again for what may have changed."""
        methods = {
            "diagnostics": types.WORKSPACE_DIAGNOSTIC_REFRESH,
            "code_lens": types.WORKSPACE_CODE_LENS_REFRESH,
            "inlay_hint": types.WORKSPACE_INLAY_HINT_REFRESH,
        }
        for kind in kinds:
            if kind in self.server.editor.refreshes:
                self.server.protocol.send_request(methods[kind])
