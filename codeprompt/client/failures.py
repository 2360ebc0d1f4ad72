"""The service's errors as ours: the same class, the same message, the same way out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from codeprompt.client.messages import Failure
from codeprompt.errors import (
    BackboneError,
    CodepromptError,
    DataError,
    DeadlineError,
    EngineError,
    PackError,
    QueueFullError,
    StoppedError,
    TemplateError,
    TrainingError,
    UsageError,
)

if TYPE_CHECKING:
    import httpx

E = TypeVar("E", bound=CodepromptError)
RETRY_SECONDS = 1.0


class UnreachableError(EngineError):
    """There is no engine where one was looked for, or it went away."""


class DrainingError(EngineError):
    """The engine is about to leave and takes nothing new."""


CLASSES: dict[str, type[CodepromptError]] = {
    "unknown_pack": PackError,
    "unknown_name": UsageError,
    "queue_full": QueueFullError,
    "draining": DrainingError,
    **{
        kind.__name__.removesuffix("Error").lower(): kind
        for kind in (
            BackboneError,
            DataError,
            DeadlineError,
            EngineError,
            PackError,
            StoppedError,
            TemplateError,
            TrainingError,
            UsageError,
        )
    },
}
STATUSES: dict[int, type[CodepromptError]] = {
    400: UsageError,
    404: UsageError,
    408: DeadlineError,
    409: UsageError,
    413: DataError,
    422: UsageError,
    429: QueueFullError,
}


class _Answer(msgspec.Struct):
    error: Failure


def from_response(response: httpx.Response) -> CodepromptError:
    """The error of an answer with a status of 400 or more, whose body was read."""
    failure = Failure()
    with contextlib.suppress(msgspec.DecodeError):
        failure = msgspec.json.decode(response.content, type=_Answer).error
    retry_after = RETRY_SECONDS
    with contextlib.suppress(ValueError):
        retry_after = float(response.headers.get("retry-after", RETRY_SECONDS))
    return from_failure(failure, response.status_code, retry_after)


def from_failure(
    failure: Failure, status: int = 500, retry_after: float = RETRY_SECONDS
) -> CodepromptError:
    """An error of the service. status: tells the class where the code is not known."""
    message = failure.message or f"The engine answered with status {status} and no reason"
    kind = CLASSES.get(failure.code, STATUSES.get(status, EngineError))
    error = with_message(kind, message)
    if isinstance(error, QueueFullError):
        error.waiting, error.retry_after = 0, retry_after
    if failure.request_id:
        error.add_note(f"Request {failure.request_id}")
    return error


def with_message(kind: type[E], message: str) -> E:
    """An error of a class whose own parameters nobody kept: the message has it all."""
    error = kind.__new__(kind)
    CodepromptError.__init__(error, message)
    return error


def from_transport(error: Exception, where: str) -> CodepromptError:
    """The user's view of a connection that failed."""
    import httpx

    what = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return UnreachableError(
            f"No engine answers at {where} ({what})",
            do="Start one with `codeprompt engine start`",
        )
    if isinstance(error, httpx.TimeoutException):
        return with_message(
            DeadlineError, f"The engine at {where} did not answer in time. Ask again, or allow more"
        )
    return UnreachableError(
        f"The engine at {where} went away ({what})",
        do="See `codeprompt engine status` and its log, then ask again",
    )
