"""Errors as the protocol tells them: a code and a sentence."""

from __future__ import annotations

import logging
import traceback

from lsprotocol import types
from pygls.exceptions import JsonRpcException

PARAMS = "The parameters do not fit the method"
STATE = {
    int(types.ErrorCodes.InvalidRequest): "The server takes no such request now",
    int(types.ErrorCodes.ServerNotInitialized): "The server is not initialized",
}


class Fault(JsonRpcException):
    """An error with a code of its own; `message` is all that the client sees."""

    def __init__(self, message: str, code: int = types.LSPErrorCodes.RequestFailed) -> None:
        super().__init__(message=message, code=code)


def failure(code: int, message: str) -> Fault:
    """An error of the protocol."""
    return Fault(message, int(code))


def refused(message: str) -> Fault:
    """What a person asked for cannot be done: why, and what to do."""
    return Fault(message)


def outdated() -> Fault:
    """The text is not any more what the request was about."""
    return Fault("The text has changed meanwhile; ask again", types.LSPErrorCodes.ContentModified)


def note(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log a fault of ours: its kind and place. Its message may hold somebody's source."""
    places = [f"{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
    log.error("%s failed with %s at %s", what, type(error).__name__, " > ".join(places))
