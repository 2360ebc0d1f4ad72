"""Errors as HTTP says them: one shape for all, and never a traceback or a line of source.

{"error": {"code": "unknown_pack", "message": "...", "request_id": "..."}}
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

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
    UnknownNameError,
    UsageError,
)

GONE = 499
"""The client went away before the answer; nobody reads it."""


class Problem(CodepromptError):
    """An error with a status of its own.

    code: what programs go by. status: of HTTP. retry_after: seconds, for 429 and 503.
    """

    def __init__(
        self,
        status: int,
        code: str,
        found: str,
        *,
        expected: str = "",
        do: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(found, expected=expected, do=do)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class Told:
    """What a client is told of an error."""

    status: int
    code: str
    message: str
    retry_after: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Beside the body."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}

    def as_json(self, request_id: str) -> dict[str, dict[str, str]]:
        """The one shape."""
        return {
            "error": {"code": self.code, "message": self.message, "request_id": request_id},
        }

    def body(self, request_id: str) -> bytes:
        """The shape as bytes."""
        return msgspec.json.encode(self.as_json(request_id))


STORED = frozenset({"job", "upload", "pack", "version"})
"""Kinds of names that a client may ask for and that come and go."""

BY_CLASS: tuple[tuple[type[CodepromptError], int, str], ...] = (
    (UnknownNameError, 400, "unknown_name"),
    (UsageError, 400, "usage"),
    (DataError, 400, "data"),
    (TemplateError, 400, "template"),
    (PackError, 400, "pack"),
    (TrainingError, 400, "training"),
    (BackboneError, 409, "backbone"),
    (DeadlineError, 408, "deadline"),
    (StoppedError, 503, "stopped"),
    (EngineError, 503, "engine"),
)


def told(error: BaseException) -> Told:
    """What a client is told. What we did not expect is told by nothing but its kind."""
    if isinstance(error, Problem):
        return Told(error.status, error.code, str(error), error.retry_after)
    if isinstance(error, QueueFullError):
        return Told(429, "queue_full", str(error), error.retry_after)
    if isinstance(error, UnknownNameError) and error.kind.split()[0] in STORED:
        code = "unknown_pack" if error.kind == "pack" else "unknown_name"
        return Told(404, code, str(error))
    if isinstance(error, CodepromptError):
        from codeprompt.service.state.errors import ConflictError

        if isinstance(error, ConflictError):
            return Told(409, "conflict", str(error))
        for kind, status, code in BY_CLASS:
            if isinstance(error, kind):
                return Told(status, code, str(error), 1.0 if status == 503 else None)
        return Told(503, "unavailable", str(error), 1.0)
    if isinstance(error, MemoryError):
        return Told(503, "memory", "The service ran out of memory for this request.", 5.0)
    return Told(500, "internal", "The service met an error it did not expect; see its log.")


def unknown_pack(message: str, *, do: str = "") -> Problem:
    """There is no such pack."""
    return Problem(404, "unknown_pack", message, do=do)


def draining() -> Problem:
    """The service is about to end."""
    return Problem(
        503, "draining", "The service is shutting down", do="Start it again", retry_after=1.0
    )


def past_deadline() -> Problem:
    """The answer would have come too late."""
    return Problem(408, "deadline", "The deadline passed before the answer was ready")
