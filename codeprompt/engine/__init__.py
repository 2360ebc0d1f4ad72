"""The engine: requests for any packs on one frozen backbone, predictions in mixed batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeprompt.engine.engine import Engine
    from codeprompt.engine.request import Request

__all__ = ["Engine", "Request"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from codeprompt.engine.engine import Engine

        return Engine
    if name == "Request":
        from codeprompt.engine.request import Request

        return Request
    raise AttributeError(name)
