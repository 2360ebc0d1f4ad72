"""Structured logs: one JSON object a line, with the request's id, and never source text.

Nothing logs a message of an error or a value of a client beyond its name: an error is told by its
kind and the places in our code it passed.
"""

from __future__ import annotations

import itertools
import logging
import re
import sys
import time
import traceback
import uuid
from typing import Any, TextIO

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeprompt.service.problems import Told, told
from codeprompt.service.telemetry import OTHER, Telemetry

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SANE_CLIENT = re.compile(r"[A-Za-z0-9._:/@+-]{1,64}")
QUIET = ("/healthz", "/readyz", "/metrics")
"""Asked for every few seconds by what watches; logged only where they fail."""
PROCESS, NUMBERS = uuid.uuid4().hex[:12], itertools.count()
log = structlog.get_logger("codeprompt.service")


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Log as JSON to a stream, by default stderr; what libraries log, from WARNING on, too."""
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_messages,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("codeprompt").setLevel(level)


def places(error: BaseException) -> list[str]:
    """Where an error went through, as file:line; no message, no line of text."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]


def new_id() -> str:
    """An id that no other request of any process has; it asks the system for nothing."""
    return f"{PROCESS}{next(NUMBERS):08x}"


def request_id(scope: Scope) -> str:
    """The id of the request that is being answered."""
    return str(scope.get("state", {}).get("request_id", ""))


def client_of(scope: Scope) -> str:
    """Whom the queue is fair to: the name in X-Client, else the connection."""
    name = header(scope, b"x-client")
    if SANE_CLIENT.fullmatch(name):
        return name
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "socket"


def header(scope: Scope, name: bytes) -> str:
    """The first header of that name, "" where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


async def send_told(send: Send, found: Told, ident: str) -> None:
    """An error as a whole response."""
    body = found.body(ident)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((k.lower().encode(), v.encode()) for k, v in found.headers.items()),
    ]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class RequestLog:
    """The outermost layer: gives ids, logs and counts, and answers what nobody caught."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        ident = given if SANE_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = ident
        seen: dict[str, Any] = {"status": 0}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message = {**message, "headers": [*message["headers"], *_always(ident)]}
            await send(message)

        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=ident):
            try:
                await self.app(scope, receive, sending)
            except Exception as error:
                seen["error"] = type(error).__name__
                fault(error)
                if not seen["status"]:
                    await send_told(sending, told(error), ident)
            finally:
                self._told(scope, seen, time.monotonic() - began)

    def _told(self, scope: Scope, seen: dict[str, Any], seconds: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        self.telemetry.answered(route, seen["status"])
        if route in QUIET and seen["status"] < 400:
            return
        log.info(
            "request",
            method=scope["method"],
            route=route,
            ms=round(1000 * seconds, 1),
            **seen,
            **scope["state"].get("noted", {}),
        )


def fault(error: Exception) -> None:
    """A line about what we did not expect: its kind and its places, never its message."""
    log.error("unexpected", error=type(error).__name__, places=places(error))


def note(scope: Scope, **values: Any) -> None:
    """Add to the request's line in the log."""
    scope["state"].setdefault("noted", {}).update(values)


def _always(ident: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", ident.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


def _without_messages(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """What a library logs is told without its values, and an error by its kind and its places."""
    record = event.get("_record")
    if record is not None and not event.get("_from_structlog", True):
        event["logger"] = record.name
        if not record.name.startswith("codeprompt"):
            event["event"] = str(record.msg).partition("\n")[0][:200]
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["error"], event["places"] = type(found).__name__, places(found)
    event.pop("exception", None)
    return event
