"""The engine: requests for any packs on one frozen backbone, predictions in mixed batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeprompt.engine.engine import Engine
    from codeprompt.engine.request import Priority, Request

__all__ = ["Engine", "Priority", "Request"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from codeprompt.engine.engine import Engine

        return Engine
    if name in ("Priority", "Request"):
        from codeprompt.engine import request

        return getattr(request, name)
    raise AttributeError(name)
