"""`HardenedProtocol`: pygls' protocol with its traps closed.

What is different, each with a test in `tests/test_lsp_protocol.py` and `test_lsp_traps.py`:
requests before `initialize` get -32002 and those after `shutdown` -32600, as the protocol says;
what is no JSON, no request or has other parameters gets -32700, -32600 or -32602 with its id;
a cancelled handler answers -32800 at once, and a reply that comes after its waiter has left is
dropped; errors carry a sentence, never a traceback; nothing of a message is ever logged;
documents are our own.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import lsp_method

from codeprompt.errors import CodepromptError
from lsp_server.asking import AskingProtocol
from lsp_server.documents import Documents
from lsp_server.failures import PARAMS, STATE, failure, note
from lsp_server.positions import Encoding
from lsp_server.transport import MALFORMED

log = logging.getLogger(__name__)
Codes = types.ErrorCodes


class HardenedProtocol(AskingProtocol):
    """One connection. documents: what the editor has open. on_exit: called with the exit code.

    leaving: the connection is about to end.
    """

    _server: Any

    def __init__(self, server: Any, converter: Any) -> None:
        self.documents = Documents()
        self.on_exit: Callable[[int], None] = lambda code: None
        self._began = self._answered = self.leaving = False
        super().__init__(server, converter)

    @property
    def open(self) -> bool:
        """Whether notifications may be sent: between `initialized` and `shutdown`."""
        return self._answered and not self._shutdown and not self.leaving

    # --- what comes in

    def receive(self, message: Any) -> None:
        """One decoded message, whatever it is. Never raises."""
        try:
            self._receive(message)
        except Exception as error:  # a fault of ours must not end the connection
            note(log, "a message", error)

    def _receive(self, message: Any) -> None:
        if message is MALFORMED:
            self._refuse(None, Codes.ParseError, "The message is no JSON")
        elif not isinstance(message, dict):
            self._refuse(None, Codes.InvalidRequest, "A message is an object, never a batch")
        elif "method" not in message:
            self._reply(message.get("id"), message)
        else:
            self._called(message["method"], message)

    def _called(self, method: Any, message: dict[str, Any]) -> None:
        number = message.get("id")
        known = isinstance(number, str | int) and not isinstance(number, bool)
        asks = "id" in message
        if not isinstance(method, str) or (asks and not known):
            self._refuse(number if known else None, Codes.InvalidRequest, "It is no request")
        elif message.get("jsonrpc") != self.VERSION:
            if asks:
                self._refuse(number, Codes.InvalidRequest, "Expected JSON-RPC 2.0")
        elif asks:
            self._request(number, method, message)
        else:
            self._notification(method, message)

    def _request(self, number: Any, method: str, message: dict[str, Any]) -> None:
        code = self._out_of_order(method)
        if code is not None:
            self._refuse(number, code, STATE[code])
            return
        if not self._knows(method):
            self._refuse(number, Codes.MethodNotFound, f"There is no method {method[:100]}")
            return
        try:
            structured = self.structure_message(message)
        except JsonRpcException:
            self._refuse(number, Codes.InvalidParams, PARAMS)
            return
        self._began = True
        self.handle_message(structured)

    def _notification(self, method: str, message: dict[str, Any]) -> None:
        if method == types.EXIT:
            self.on_exit(0 if self._shutdown else 1)
            return
        known = self._knows(method) or method == types.CANCEL_REQUEST
        if self._shutdown or not self._began or not known:
            return
        try:
            structured = self.structure_message(message)
        except JsonRpcException:
            log.warning("A notification %s with other parameters was left", method)
            return
        self.handle_message(structured)

    def _knows(self, method: str) -> bool:
        return method in self.fm.builtin_features or method in self.fm.features

    def _out_of_order(self, method: str) -> int | None:
        if self._shutdown:
            return Codes.InvalidRequest
        if method == types.INITIALIZE:
            return Codes.InvalidRequest if self._began else None
        return None if self._began else Codes.ServerNotInitialized

    def structure_message(self, data: dict[str, Any]) -> Any:
        """As pygls', without its log of what the message holds."""
        kind = self.get_message_type(data["method"])
        try:
            if kind is None:
                raise ValueError("no type for the method")
            return self._converter.structure(data, kind)
        except Exception as error:
            raise failure(Codes.InvalidParams, PARAMS) from error

    # --- handlers

    def _handle_request(self, msg_id: Any, method_name: str, params: Any) -> None:
        self._ctx_msg_id.set(msg_id)
        done = functools.partial(self._send_handler_result, msg_id=msg_id)
        self._execute_handler(msg_id, self._get_handler(method_name), done, (params,))

    def _handle_notification(self, method_name: str, params: Any) -> None:
        if method_name == types.CANCEL_REQUEST:
            self._handle_cancel_notification(params.id)
            return
        key = f"notification {self._own_id()}"
        handler = self._get_handler(method_name)
        self._execute_handler(cast(Any, key), handler, self._check_handler_result, (params,))

    def _execute_handler(
        self, msg_id: Any, handler: Any, callback: Any, args: Any = None, kwargs: Any = None
    ) -> None:
        """As pygls', but nobody keeps what has finished."""

        def done(future: Any) -> None:
            if self._request_futures.get(msg_id) is future:
                del self._request_futures[msg_id]
            callback(future)

        if not asyncio.iscoroutinefunction(handler):
            super()._execute_handler(msg_id, handler, done, args, kwargs)
            return
        task = asyncio.ensure_future(handler(*(args or ()), **(kwargs or {})))
        self._request_futures[msg_id] = cast(Any, task)
        task.add_done_callback(done)

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        future = self._request_futures.get(msg_id)
        if future is not None:
            future.cancel()

    # --- what goes out

    def _send_handler_result(self, future: Future[Any], *, msg_id: Any) -> None:
        if future.cancelled():
            cancelled = types.LSPErrorCodes.RequestCancelled
            self._refuse(msg_id, cancelled, "The request was cancelled")
            return
        error = future.exception()
        if error is None:
            try:
                plain = self._converter.unstructure(future.result())
                self._send_data({"jsonrpc": "2.0", "id": msg_id, "result": plain})
                return
            except Exception as broken:
                error = broken
        self._refuse(msg_id, *self._told(error))

    def _told(self, error: BaseException) -> tuple[int, str]:
        """Code and sentence of an error, with nothing of the machine or of anybody's source."""
        if isinstance(error, JsonRpcException):
            return error.code, error.message
        if isinstance(error, CodepromptError):
            return types.LSPErrorCodes.RequestFailed, str(error)
        note(log, "a request", error)
        return Codes.InternalError, f"Internal error ({type(error).__name__})"

    def _check_handler_result(self, future: Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            note(log, "a notification", error)

    def _refuse(self, number: Any, code: int, message: str) -> None:
        error = {"code": int(code), "message": message}
        self._send_data({"jsonrpc": "2.0", "id": number, "error": error})

    def _send_data(self, data: Any) -> None:
        if data and self.writer is not None:
            body = json.dumps(data, default=self._serialize_message).encode("ascii")
            self.writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    # --- life cycle and documents

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Any:
        """As pygls', with what suits this editor, then what pygls 2.1 does not announce."""
        self._server.prepare(params)
        result = yield from super().lsp_initialize(params)
        encoding = result.capabilities.position_encoding or "utf-16"
        self.documents.encoding = cast(Encoding, str(getattr(encoding, "value", encoding)))
        self._server.announce(result.capabilities)
        return result

    @lsp_method(types.INITIALIZED)
    def lsp_initialized(self, *args: Any) -> Any:
        """From now on the editor takes notifications and requests."""
        self._answered = True
        yield from self._then(types.INITIALIZED, args[0])

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *args: Any) -> Any:
        """Cancel what runs; nothing but `exit` counts from now on."""
        self._shutdown = True
        for number, future in list(self._request_futures.items()):
            if number != self.msg_id and not future.done():
                future.cancel()
        return
        yield

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Any:
        """Keep the text, then tell the features."""
        self.documents.open(params.text_document)
        yield from self._then(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Any:
        """Apply the edits, then tell the features."""
        if self.documents.change(params) is not None:
            yield from self._then(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Any:
        """Forget the text, then tell the features."""
        self.documents.close(params.text_document.uri)
        yield from self._then(types.TEXT_DOCUMENT_DID_CLOSE, params)

    def _then(self, method: str, params: Any) -> Any:
        handler = self.fm.features.get(method)
        if handler is not None:
            yield handler, (params,), None

    @lsp_method(types.WINDOW_WORK_DONE_PROGRESS_CANCEL)
    def lsp_work_done_progress_cancel(self, params: types.WorkDoneProgressCancelParams) -> None:
        """Cancel the task behind a progress."""
        self._server.progresses.cancel(params.token)

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(  # type: ignore[override]
        self, params: types.ExecuteCommandParams
    ) -> Any:
        """A command, as a task of its own: cancelling the request cancels it."""
        handler = self.fm.commands.get(params.command)
        if handler is None:
            raise failure(Codes.InvalidParams, f"There is no command {params.command[:100]}")
        return await handler(*(params.arguments or ()))
