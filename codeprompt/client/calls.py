"""Every call of the service, described once: `Client` answers it, `AsyncClient` awaits it.

A function here turns arguments into a `Call` (one answer) or a `Flow` (a stream of them), and
`Calls` makes a method of each, whose result has the type that suits the client.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from codeprompt.errors import EngineError

if TYPE_CHECKING:
    from codeprompt.client.aio import AsyncClient
    from codeprompt.client.sse import Message as Received
    from codeprompt.client.sync import Client

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
QUICK, SECONDS, LONG = 10.0, 120.0, 600.0
"""To wait: for what needs no model, for an answer (the backbone may have to be loaded first), for
many answers."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and how its answer is read.

    body: sent as JSON. files: name to (file name, bytes, type), sent as a form with `form`.
    content: sent as it is. seconds: without a byte, after which nobody waits any more.
    repeatable: may be sent again where the connection broke before an answer came.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    body: Any = None
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = SECONDS
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Flow(Generic[T]):
    """A request that is answered by events.

    read: an event's value; None passes it over; it raises what the event says went wrong.
    last: events after which no other comes. resumable: after a break the rest can be asked for.
    """

    call: Call[bytes]
    read: Callable[[Received], T | None]
    last: frozenset[str]
    resumable: bool = False


class Method(Generic[P, T]):
    """A described call as a method of both clients."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self.describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[T]]: ...
    @overload
    def __get__(self, client: Client, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Callable[P, Any]:
        describe = self.describe
        if client is None:
            return describe

        @functools.wraps(describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(describe(*args, **kwargs))

        return method


class Streaming(Generic[P, T]):
    """A described flow as a method of both clients."""

    def __init__(self, describe: Callable[P, Flow[T]]) -> None:
        self.describe = describe
        functools.update_wrapper(self, describe)  # type: ignore[arg-type]

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Flow[T]]: ...
    @overload
    def __get__(self, client: Client, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Callable[P, Any]:
        describe = self.describe
        if client is None:
            return describe

        @functools.wraps(describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.flow(describe(*args, **kwargs))

        return method


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Bytes of JSON as a value of a type. Raises `EngineError` where they are something else."""
    decoder = msgspec.json.Decoder(kind)

    def read(data: bytes) -> T:
        try:
            return decoder.decode(data)
        except msgspec.DecodeError as error:
            raise EngineError(
                f"The engine's answer cannot be read: {error}",
                do="It may be of another version; see `codeprompt engine status`",
            ) from error

    return read
