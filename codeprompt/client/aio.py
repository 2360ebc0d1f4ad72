"""The client that is awaited: the same calls, cancelled by cancelling their tasks."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from codeprompt.client.address import Address
from codeprompt.client.calls import Call, Flow
from codeprompt.client.describe import Calls
from codeprompt.client.http import NAME, Feed, Send, arguments, exchange, settings

if TYPE_CHECKING:
    import httpx

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient(Calls):
    """As `Client`, for one event loop. A cancelled call closes its connection, which stops the
    computing at its next step."""

    def __init__(
        self,
        address: Address,
        *,
        name: str = NAME,
        revive: Callable[[bool], Address] | None = None,
    ) -> None:
        self.address, self.name, self._revive = address, name, revive
        self._http: httpx.AsyncClient | None = None

    async def run(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        return call.read((await self._exchange(call, stream=False)).content)

    async def flow(self, flow: Flow[T]) -> AsyncIterator[T]:
        """Send a call and read its events as they come. Closing the iterator (`aclosing`) closes
        the connection."""
        import httpx

        feed = Feed(flow, str(self.address))
        while not feed.done:
            broken: Exception | None = None
            try:
                async with aclosing(await self._exchange(feed.call(), stream=True)) as response:
                    async for data in response.aiter_bytes():
                        for value in feed.read(data):
                            yield value
                        if feed.done:
                            return
            except httpx.TransportError as error:
                broken = error
            await asyncio.sleep(feed.pause(broken))

    async def close(self) -> None:
        """Close the connections. The client can be used again."""
        client, self._http = self._http, None
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _exchange(self, call: Call[Any], *, stream: bool) -> httpx.Response:
        steps = exchange(call, str(self.address), revivable=self._revive is not None)
        step = next(steps)
        while True:
            try:
                if isinstance(step, Send):
                    found: httpx.Response | None = await self._send(step.call, stream)
                else:
                    found = None
                    await self._started(step.leaving)
            except Exception as error:
                step = steps.throw(error)
                continue
            try:
                step = steps.send(found)
            except StopIteration as end:
                response: httpx.Response = end.value
                return response

    async def _send(self, call: Call[Any], stream: bool) -> httpx.Response:
        client = self._client()
        response = await client.send(
            client.build_request(**arguments(call, self.address)), stream=stream
        )
        if stream and response.status_code >= 400:
            async with aclosing(response):
                await response.aread()
        return response

    async def _started(self, leaving: bool) -> None:
        """Not in a shared thread: they may all be busy, and starting takes seconds."""
        assert self._revive is not None
        found = await apart(self._revive, leaving)
        if found != self.address:
            await self.close()
            self.address = found

    def _client(self) -> httpx.AsyncClient:
        import httpx

        if self._http is None:
            uds = self.address.socket
            transport = httpx.AsyncHTTPTransport(
                uds=str(uds) if uds else None, verify=self.address.url.startswith("https")
            )
            self._http = httpx.AsyncClient(transport=transport, **settings(self.address, self.name))
        return self._http


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Await a function that blocks, in a thread of its own."""
    executor = ThreadPoolExecutor(1, "codeprompt-start")
    call = functools.partial(function, *args, **kwargs)
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, call)
    finally:
        executor.shutdown(wait=False)
