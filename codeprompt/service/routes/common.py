"""What routes share: the service, errors for the document, leaving clients, event streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from codeprompt.service.core import Service
from codeprompt.service.limits import over_socket
from codeprompt.service.logs import client_of, request_id
from codeprompt.service.problems import Problem
from codeprompt.service.wire import Error

T = TypeVar("T")
KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent, so that a dead client is noticed."""
MEANINGS = {
    400: "A mistake in the request; the message says what to do.",
    401: "No token, or a wrong one.",
    403: "A Host, an Origin or a way in that is not allowed.",
    404: "There is nothing of that name.",
    405: "The route has no such method.",
    408: "The deadline passed.",
    409: "What is stored or loaded does not allow it now.",
    413: "The body is too large.",
    422: "The body does not fit the schema.",
    429: "The queue is full; Retry-After says when to come back.",
    503: "Not now: loading, draining, or out of a resource.",
}
ALWAYS = (400, 401, 403, 405, 413)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documented errors: those of every route, and these."""
    return {
        status: {"model": Error, "description": MEANINGS[status]}
        for status in sorted({*ALWAYS, *statuses})
    }


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON response. Everything in it was made by us, so it is not validated again."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def client(request: Request) -> str:
    """Whom the queue is fair to."""
    return client_of(request.scope)


def ident(request: Request) -> str:
    """The request's id."""
    return request_id(request.scope)


def local(request: Request) -> bool:
    """Whether the request may name paths of this machine."""
    service: Service = request.app.state.service
    return over_socket(request.scope) and service.settings.local_paths


def near(request: Request, project: str | None) -> str | None:
    """The project that a request belongs to. Raises `Problem` (403) where it may not name one."""
    if project is not None and not local(request):
        raise Problem(
            403,
            "project",
            "Only requests over the engine's Unix socket may name a project",
            do="Upload the project's packs (POST /v1/packs)",
        )
    return project


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; it is cancelled once the client goes away. Raises `Problem` (499)."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request.receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(499, "gone", "The client went away")
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def disconnected(receive: Receive) -> None:
    """Return once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def event_stream(text: str, *kinds: str, numbered: bool = False) -> dict[str, Any]:
    """A stream of events for the document: each is an object whose `data` is JSON."""
    properties: dict[str, Any] = {
        "event": {"type": "string", "enum": list(kinds)},
        "data": {"type": "string", "contentMediaType": "application/json"},
    }
    if numbered:
        properties["id"] = {"type": "string", "pattern": "^[0-9]+$"}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"description": text, "content": {"text/event-stream": {"schema": schema}}}


def event(kind: str, data: Any, number: int | None = None) -> bytes:
    """One server-sent event; JSON has no line breaks of its own."""
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class Events(Response):
    """Server-sent events; the source is closed once the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self.source.aclose()  # type: ignore[attr-defined]

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        waiting: asyncio.Future[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self.source))
                done, _ = await asyncio.wait((waiting,), timeout=KEEP_ALIVE)
                body = b": \n\n"
                if done:
                    try:
                        body = waiting.result()
                    except StopAsyncIteration:
                        break
                    waiting = None
                await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        await send({"type": "http.response.body", "body": b""})
