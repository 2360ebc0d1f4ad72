"""What the status bar and the log are told: never a pop-up.

The notification `codeprompt/status` carries {state, message, health, packs, resting, skipped}; an
editor without a status bar finds the same sentences in its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types

from lsp_server.engine import State

if TYPE_CHECKING:
    from lsp_server.documents import Document
    from lsp_server.packs import Chosen
    from lsp_server.server import CodepromptServer

METHOD = "codeprompt/status"
HEALTH = {"ready": "ok", "idle": "ok", "starting": "busy", "loading": "busy", "failed": "error"}


class Status:
    """The state as it was last told; told again only where it changes."""

    def __init__(self, server: CodepromptServer) -> None:
        self.server = server
        self._state = State()
        self._packs: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._resting = ""
        self._notes: list[str] = []
        self._last: dict[str, Any] = {}
        self._logged: set[tuple[str, str]] = set()

    def as_json(self) -> dict[str, Any]:
        """What the notification carries."""
        parts = [self._state.message, *self._missing.values()]
        if self._resting:
            parts.append(f"Passive features rest: {self._resting}.")
        return {
            "state": self._state.kind,
            "health": HEALTH[self._state.kind],
            "message": " ".join(parts),
            "packs": dict(self._packs),
            "missing": sorted(self._missing),
            "resting": self._resting,
            "skipped": dict(self._skipped),
            "notes": self._notes[-8:],
        }

    def engine(self, state: State) -> None:
        """The engine's state has changed."""
        self._state = state
        self.log(state.message, types.MessageType.Warning if state.kind == "failed" else None)
        self._tell()

    def chosen(self, pack: Chosen) -> None:
        """A pack answers."""
        if self._packs.get(pack.task) != pack.shown or pack.task in self._missing:
            self._packs[pack.task] = pack.shown
            self._missing.pop(pack.task, None)
            self._tell()

    def missing(self, task: str, wanted: str, languages: str = "") -> None:
        """No pack answers for a task; the log has each sentence once."""
        told = f"No pack called '{wanted}'." if wanted else f"No pack for {task}{languages}."
        if self._missing.get(task) != told:
            self._missing[task] = told
            self._packs.pop(task, None)
            if (task, told) not in self._logged:
                self._logged.add((task, told))
                self.log(told)
            self._tell()

    def resting(self, reason: str) -> None:
        """Passive features rest, or ("") do not."""
        if bool(reason) != bool(self._resting):
            self._resting = reason
            self._tell()

    def skipped(self, document: Document, reason: str) -> None:
        """A document is left alone, or ("") is not any more; the log has each reason once."""
        if not reason:
            self.closed(document.uri)
            return
        self._skipped[document.uri] = reason
        if (document.uri, reason) not in self._logged:
            self._logged.add((document.uri, reason))
            name = document.path.name if document.path else document.uri
            self.log(f"{name} is left alone: {reason}.")
        self._tell()

    def closed(self, uri: str) -> None:
        """A document was closed, or is not left alone any more."""
        if self._skipped.pop(uri, None) is not None:
            self._tell()

    def say(self, sentence: str) -> None:
        """Something of note, once."""
        if sentence not in self._notes:
            self._notes.append(sentence)
            self.log(sentence, types.MessageType.Warning)
            self._tell()

    def log(self, message: str, kind: types.MessageType | None = None) -> None:
        """A line in the editor's log."""
        if self._open:
            self.server.protocol.notify(
                types.WINDOW_LOG_MESSAGE,
                types.LogMessageParams(type=kind or types.MessageType.Info, message=message),
            )

    def _tell(self) -> None:
        told = self.as_json()
        if self._open and told != self._last:
            self._last = told
            self.server.protocol.notify(METHOD, told)

    @property
    def _open(self) -> bool:
        return self.server.protocol.open
