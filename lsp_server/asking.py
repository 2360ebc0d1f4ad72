"""What we ask of the editor: requests with ids of our own; replies nobody waits for are dropped."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from lsprotocol import types
from pygls.protocol import LanguageServerProtocol

from lsp_server.failures import failure

CLIENT_SECONDS = 2.0
"""For the editor's answer to a request that asks no person anything."""


class AskingProtocol(LanguageServerProtocol):
    """Requests to the editor, kept apart from its own requests."""

    def __init__(self, server: Any, converter: Any) -> None:
        self._asked: dict[str | int, Future[Any]] = {}
        self._number = 0
        super().__init__(server, converter)

    def send_request(
        self, method: str, params: Any = None, callback: Any = None, msg_id: Any = None
    ) -> Future[Any]:
        """As pygls', with ids of our own."""
        msg_id = msg_id or self._own_id()
        future: Future[Any] = Future()
        self._asked[msg_id] = future
        if callback is not None:
            future.add_done_callback(
                lambda done: (
                    None if done.cancelled() or done.exception() else callback(done.result())
                )
            )
        kind: Any = self.get_message_type(method)
        self._send_data(kind(id=msg_id, method=method, params=params, jsonrpc=self.VERSION))
        return future

    async def ask(self, method: str, params: Any = None, seconds: float = CLIENT_SECONDS) -> Any:
        """The editor's answer. Raises `TimeoutError` for a silent one, `Fault` for a refusal.

        seconds: 0 waits for as long as it takes (where a person is asked).
        """
        number = self._own_id()
        future = self.send_request(method, params, msg_id=number)
        try:
            async with asyncio.timeout(seconds or None):
                return await asyncio.wrap_future(future)
        except (TimeoutError, asyncio.CancelledError):
            self._asked.pop(number, None)
            self.notify(types.CANCEL_REQUEST, types.CancelParams(id=number))
            raise

    def _own_id(self) -> str:
        self._number += 1
        return f"codeprompt-{self._number}"

    def _reply(self, number: Any, message: dict[str, Any]) -> None:
        """The editor's reply; one that nobody waits for any more is dropped."""
        future = self._asked.pop(number, None) if isinstance(number, str | int) else None
        if future is None or not future.set_running_or_notify_cancel():
            return
        error = message.get("error")
        if error is None:
            future.set_result(message.get("result"))
            return
        told = error if isinstance(error, dict) else {}
        code = told.get("code")
        future.set_exception(
            failure(
                code if isinstance(code, int) else types.ErrorCodes.UnknownErrorCode,
                str(told.get("message", "The editor refused")),
            )
        )
