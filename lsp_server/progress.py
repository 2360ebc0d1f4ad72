"""Work-done progress with its traps closed: only where the editor has it, never waiting for long
for the editor's consent, tokens freed at the end, cancelled by cancelling the task."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from lsp_server.protocol import HardenedProtocol

CONSENT_SECONDS = 2.0
"""For the editor to take a token; then the work goes on unseen."""
Value = types.WorkDoneProgressBegin | types.WorkDoneProgressReport | types.WorkDoneProgressEnd


class Report:
    """One progress; `update` does nothing where the editor shows none."""

    def __init__(self, protocol: HardenedProtocol, token: str | None) -> None:
        self._protocol, self._token = protocol, token
        self._last = (-1, "")

    def update(self, message: str, percentage: float | None = None) -> None:
        """Tell how far it is, unless that was told already."""
        whole = None if percentage is None else max(0, min(100, int(percentage)))
        if (whole or 0, message) != self._last:
            self._last = (whole or 0, message)
            self._send(types.WorkDoneProgressReport(message=message, percentage=whole))

    def _send(self, value: Value) -> None:
        if self._token is not None:
            plain = self._protocol._converter.unstructure(value)
            self._protocol.notify(
                types.PROGRESS, types.ProgressParams(token=self._token, value=plain)
            )


class Progresses:
    """The progresses under way, by token."""

    def __init__(self, protocol: HardenedProtocol) -> None:
        self.protocol = protocol
        self.enabled = False
        self._numbers = itertools.count(1)
        self._tasks: dict[str | int, asyncio.Task[object]] = {}

    @property
    def tokens(self) -> list[str | int]:
        """Tokens that are not freed yet."""
        return list(self._tasks)

    @asynccontextmanager
    async def begin(self, title: str, message: str = "") -> AsyncIterator[Report]:
        """A progress around what is inside; the editor's cancel cancels the present task."""
        token = await self._created()
        report = Report(self.protocol, token)
        task = asyncio.current_task()
        if token is not None and task is not None:
            self._tasks[token] = task
        report._send(
            types.WorkDoneProgressBegin(
                title=title, message=message, cancellable=True, percentage=0
            )
        )
        end = "Done"
        try:
            yield report
        except asyncio.CancelledError:
            end = "Cancelled"
            raise
        except Exception:
            end = "Failed"
            raise
        finally:
            if token is not None:
                self._tasks.pop(token, None)
            report._send(types.WorkDoneProgressEnd(message=end))

    def cancel(self, token: str | int) -> bool:
        """The editor's cancel; whether there was such a progress."""
        task = self._tasks.get(token)
        return task is not None and task.cancel()

    async def _created(self) -> str | None:
        if not self.enabled:
            return None
        token = f"codeprompt-progress-{next(self._numbers)}"
        try:
            await self.protocol.ask(
                types.WINDOW_WORK_DONE_PROGRESS_CREATE,
                types.WorkDoneProgressCreateParams(token=token),
                seconds=CONSENT_SECONDS,
            )
        except (TimeoutError, JsonRpcException):
            return None
        return token
