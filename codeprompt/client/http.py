"""What both clients do alike, without waiting: when to try again, and how a stream goes on.

`exchange` is a generator of steps: the client does each (sending or starting an engine, blocking
or awaiting) and sends back what came of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from codeprompt import __version__
from codeprompt.client.address import SOCKETS, Address, check_owner
from codeprompt.client.calls import Call, Flow
from codeprompt.client.failures import (
    DrainingError,
    UnreachableError,
    from_response,
    from_transport,
)
from codeprompt.client.sse import Parser
from codeprompt.errors import EngineError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
CONNECT_SECONDS = 5.0
NAME = "python"
TRIES = 3
BREAKS = 6
"""Connections of a stream in a row that brought nothing, after which it is given up."""
PAUSE, LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send the call, and give back the response, its body read (where it is no stream, or
    its status is 400 or more)."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Revive:
    """Step: see to it that an engine answers. leaving: the one that does is about to end."""

    leaving: bool


Step = Send | Revive


def exchange(
    call: Call[Any], where: str, *, revivable: bool
) -> Generator[Step, httpx.Response | None, httpx.Response]:
    """Send a call until it is answered well.

    An engine that is absent or leaving is started again (where the client may), since the request
    did not reach it; a call that may be repeated is, where the connection broke before an answer.
    Raises what the service said, or `UnreachableError`, `DeadlineError`.
    """
    import httpx

    for left in reversed(range(TRIES)):
        try:
            response = yield Send(call)
        except httpx.ConnectError as error:
            if not (left and revivable):
                raise from_transport(error, where) from error
            yield Revive(leaving=False)
            continue
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            if not (left and call.repeatable):
                raise from_transport(error, where) from error
            continue
        except httpx.TransportError as error:
            raise from_transport(error, where) from error
        assert response is not None
        if response.status_code < 400:
            return response
        failure = from_response(response)
        if not (isinstance(failure, DrainingError) and left and revivable):
            raise failure
        yield Revive(leaving=True)
    raise UnreachableError(f"No engine that stays answers at {where}")  # pragma: no cover


class Feed(Generic[T]):
    """One stream, over as many connections as it takes."""

    def __init__(self, flow: Flow[T], where: str) -> None:
        self.flow, self.where = flow, where
        self.done = False
        self._breaks = 0
        self._parser = Parser()

    def call(self) -> Call[bytes]:
        """The request for what has not been read yet."""
        last = self._parser.last_id
        self._parser = Parser(last)
        headers = {"accept": "text/event-stream", **self.flow.call.headers}
        if last:
            headers["last-event-id"] = last
        return dataclasses.replace(self.flow.call, headers=headers)

    def read(self, data: bytes) -> Iterator[T]:
        """The values that are whole with these bytes. Raises what an event says went wrong."""
        for received in self._parser.feed(data):
            value = self.flow.read(received)
            self._breaks = 0
            self.done = received.event in self.flow.last
            if value is not None:
                yield value
            if self.done:
                return

    def pause(self, error: Exception | None) -> float:
        """Seconds to wait before the next connection. Raises where there must be none.

        error: what broke the last one; None: it just ended.
        """
        self._breaks += 1
        if not self.flow.resumable or self._breaks > BREAKS:
            if error is None:
                raise UnreachableError(
                    f"The engine at {self.where} ended a stream before its last event",
                    do="Ask again",
                )
            raise from_transport(error, self.where) from error
        return float(min(PAUSE * 2**self._breaks, LONGEST_PAUSE))


def arguments(call: Call[Any], address: Address) -> dict[str, Any]:
    """A call as `httpx.Client.build_request` takes it."""
    import httpx

    headers = dict(call.headers)
    if address.token:
        headers["authorization"] = f"Bearer {address.token}"
    out: dict[str, Any] = {"method": call.method, "url": call.path, "headers": headers}
    if call.body is not None:
        headers["content-type"] = "application/json"
        out["content"] = encode(call.body)
    elif call.files:
        out["files"], out["data"] = dict(call.files), dict(call.form)
    elif call.content is not None:
        out["content"] = call.content
    out["timeout"] = httpx.Timeout(call.seconds, connect=CONNECT_SECONDS)
    return out


def settings(address: Address, name: str) -> dict[str, Any]:
    """How both kinds of `httpx` client are set up. Never through a proxy. Raises `EngineError`."""
    if address.socket is not None:
        if not SOCKETS:
            raise EngineError("This system has no Unix sockets", do="Give http://HOST:PORT")
        check_owner(address.socket)
    headers = {"x-client": f"{name}-{os.getpid()}", "user-agent": f"codeprompt/{__version__}"}
    return {
        "base_url": address.url,
        "headers": headers,
        "trust_env": False,
        "follow_redirects": False,
    }


def encode(body: Any) -> bytes:
    """JSON in UTF-8; halves of characters, which editors may hold, become U+FFFD."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(body))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value
