"""What is refused before anything reads it: strangers, foreign pages, crowds, odd bodies.

No CORS header is ever sent, so a page in a browser cannot read an answer; and as one could still
ask, by an address that DNS was made to tell for its own name, requests over TCP whose Host is not
ours and all with a foreign Origin are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeprompt.errors import QueueFullError
from codeprompt.service.logs import header, request_id, send_told
from codeprompt.service.problems import Problem, told
from codeprompt.service.settings import Settings

MAX_DEPTH = 32
SLOW = 1 << 18
"""Bytes from which on JSON is checked in a thread."""
OPEN = ("/healthz",)
FORMS = "multipart/form-data"


def over_socket(scope: Scope) -> bool:
    """Whether a request came over the Unix socket, which only its owner can open."""
    server = scope.get("server")
    return server is not None and server[1] is None and "/" in server[0]


class Guard:
    """Host, Origin and token."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refused(scope) if scope["type"] == "http" else None
        if refused is None:
            await self.app(scope, receive, send)
        else:
            await send_told(send, told(refused), request_id(scope))

    def _refused(self, scope: Scope) -> Problem | None:
        local = over_socket(scope)
        host = header(scope, b"host")
        if not local and not self._known(host):
            return Problem(
                403,
                "host",
                "The request's Host is not one of this service's",
                do="Ask for localhost, or name the host when the service is started",
            )
        origin = header(scope, b"origin")
        if origin and (local or urlsplit_host(origin) != host.lower()):
            return Problem(403, "origin", "The request comes from a page of another origin")
        token = self.settings.token
        if token is None or local or scope["path"] in OPEN:
            return None
        scheme, _, given = header(scope, b"authorization").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() == "bearer" and right:
            return None
        return Problem(
            401,
            "token",
            "The request has no token, or a wrong one",
            expected="the header 'Authorization: Bearer TOKEN'",
        )

    def _known(self, host: str) -> bool:
        hosts = self.settings.hosts
        return "*" in hosts or _name(host) in {known.lower() for known in hosts}


class BodyLimit:
    """A body no longer than it may be, whatever its header says; JSON that is plain.

    JSON is read whole here, so that its depth and its keys are looked at before anything is made
    of it. A form goes through as it comes, counted.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        form = header(scope, b"content-type").lower().startswith(FORMS)
        limit = self.settings.max_upload if form else self.settings.max_body
        counted = Counted(receive, limit)
        try:
            counted.expect(header(scope, b"content-length"))
            if not form:
                body = await counted.whole()
                await _checked(body)
                counted.replay(body)
        except Problem as refused:
            await send_told(send, told(refused), request_id(scope))
            return
        await self.app(scope, counted.receive, counted.sending(scope, send))


class Crowd:
    """Not more requests at a time than could ever be answered: the rest is not even read.

    Who only reads (GET) is not counted: streams of events stay open for hours.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.most, self.open = app, settings.crowd, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        if self.open >= self.most:
            await send_told(send, told(QueueFullError(self.open, 1.0)), request_id(scope))
            return
        self.open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.open -= 1


class Counted:
    """What a client sends, as long as it is within the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self.limit, self.seen = receive, limit, 0
        self._again: list[Message] = []
        self._refused: Problem | None = None

    def expect(self, length: str) -> None:
        """What the header says. Raises `Problem` (413)."""
        if length.isdigit() and (len(length) > 18 or int(length) > self.limit):
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message. Raises `Problem` (413)."""
        if self._again:
            return self._again.pop()
        message = await self._receive()
        self.seen += len(message.get("body", b""))
        if self.seen > self.limit:
            self._refused = self._too_large()
            raise self._refused
        return message

    async def whole(self) -> bytes:
        """The whole body; where the client goes away before its end, nothing of it."""
        parts = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self._again.append(message)
                return b""
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)

    def replay(self, body: bytes) -> None:
        """Give a body once more."""
        if not self._again:
            self._again.append({"type": "http.request", "body": body, "more_body": False})

    def sending(self, scope: Scope, send: Send) -> Send:
        """What the application sends; our 413, where it met that as an error of its own."""
        told_ = False

        async def sending(message: Message) -> None:
            nonlocal told_
            if self._refused is None:
                await send(message)
            elif not told_:
                told_ = True
                await send_told(send, told(self._refused), request_id(scope))

        return sending

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", "The body is too large", expected=f"{self.limit:,} bytes")


async def _checked(body: bytes) -> None:
    if len(body) > SLOW:
        await asyncio.to_thread(check_json, body)
    elif body:
        check_json(body)


def check_json(body: bytes) -> None:
    """Raises `Problem` (400) for what is no JSON, is nested deeply, or has a key twice."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        if "\\ud" in text.lower():  # half a surrogate pair is no text that anything could take
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, UnicodeError):
        raise Problem(400, "json", "The body is no JSON", expected="JSON in UTF-8") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(v for v in one.values() if isinstance(v, dict | list))
            elif isinstance(one, list):
                inner.extend(v for v in one if isinstance(v, dict | list))
        level = inner


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem(400, "json", "An object in the body has a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise Problem(400, "json", f"The body has {name}, which JSON does not know")


def _too_deep() -> Problem:
    return Problem(
        400, "json", "The body is nested too deeply", expected=f"at most {MAX_DEPTH} levels"
    )


def _name(host: str) -> str:
    """Host without its port: `[::1]:80` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def urlsplit_host(origin: str) -> str:
    """host:port of an origin; "" for one that is none, such as `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
