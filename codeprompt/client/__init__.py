"""The engine from elsewhere: find or start it, ask it, without torch.

    from codeprompt.client import connect

    with connect() as engine:
        for item in engine.summarize("def add(a, b):\\n    return a + b\\n", "python"):
            print(item.function, item.text)

`connect` starts the user's engine where there is none. `AsyncClient` (from `connect_async`) has the
same calls to be awaited. Errors of the engine are `codeprompt.errors`' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeprompt.client.address import Address, Home, Record
from codeprompt.client.failures import DrainingError, UnreachableError
from codeprompt.client.launch import connect, connect_async, start, stop
from codeprompt.client.messages import (
    Event,
    Failure,
    Health,
    Item,
    Job,
    PackInfo,
    Token,
    Upload,
    Version,
)
from codeprompt.client.sight import State, state
from codeprompt.client.sync import Client

if TYPE_CHECKING:
    from codeprompt.client.aio import AsyncClient

__all__ = [
    "Address",
    "AsyncClient",
    "Client",
    "DrainingError",
    "Event",
    "Failure",
    "Health",
    "Home",
    "Item",
    "Job",
    "PackInfo",
    "Record",
    "State",
    "Token",
    "UnreachableError",
    "Upload",
    "Version",
    "connect",
    "connect_async",
    "start",
    "state",
    "stop",
]


def __getattr__(name: str) -> Any:
    """asyncio takes long to import, and most programs do without."""
    if name == "AsyncClient":
        from codeprompt.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
