"""The client that blocks. Threads may share one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from codeprompt.client.address import Address
from codeprompt.client.calls import Call, Flow
from codeprompt.client.describe import Calls
from codeprompt.client.http import NAME, Feed, Send, arguments, exchange, settings

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Client(Calls):
    """The engine at an address; `codeprompt.client.connect` finds or starts one.

    name: whom the engine's queue is fair to, with the process's number.
    revive: called where the engine is absent or (True) leaving; starts one and returns its address.
    None: never.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str = NAME,
        revive: Callable[[bool], Address] | None = None,
    ) -> None:
        self.address, self.name, self._revive = address, name, revive
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None

    def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        return call.read(self._exchange(call, stream=False).content)

    def flow(self, flow: Flow[T]) -> Iterator[T]:
        """Send a call and read its events as they come. Closing the iterator closes the
        connection."""
        import httpx

        feed = Feed(flow, str(self.address))
        while not feed.done:
            broken: Exception | None = None
            try:
                with contextlib.closing(self._exchange(feed.call(), stream=True)) as response:
                    for data in response.iter_bytes():
                        yield from feed.read(data)
                        if feed.done:
                            return
            except httpx.TransportError as error:
                broken = error
            time.sleep(feed.pause(broken))

    def close(self) -> None:
        """Close the connections. The client can be used again."""
        with self._lock:
            client, self._http = self._http, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _exchange(self, call: Call[Any], *, stream: bool) -> httpx.Response:
        steps = exchange(call, str(self.address), revivable=self._revive is not None)
        step = next(steps)
        while True:
            try:
                if isinstance(step, Send):
                    found: httpx.Response | None = self._send(step.call, stream)
                else:
                    found = None
                    self._started(step.leaving)
            except Exception as error:
                step = steps.throw(error)
                continue
            try:
                step = steps.send(found)
            except StopIteration as end:
                response: httpx.Response = end.value
                return response

    def _send(self, call: Call[Any], stream: bool) -> httpx.Response:
        client = self._client()
        response = client.send(client.build_request(**arguments(call, self.address)), stream=stream)
        if stream and response.status_code >= 400:
            with contextlib.closing(response):
                response.read()
        return response

    def _started(self, leaving: bool) -> None:
        assert self._revive is not None
        found = self._revive(leaving)
        if found != self.address:
            self.close()
            self.address = found

    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                uds = self.address.socket
                transport = httpx.HTTPTransport(
                    uds=str(uds) if uds else None, verify=self.address.url.startswith("https")
                )
                self._http = httpx.Client(transport=transport, **settings(self.address, self.name))
            return self._http
