"""The service: one engine per user, every tuned prompt behind it.

`Service` is the Python API behind every route and knows nothing of HTTP; `make_app` puts it behind
FastAPI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeprompt.service.app import make_app
    from codeprompt.service.ask import Ask, Item
    from codeprompt.service.core import Service
    from codeprompt.service.settings import Settings

__all__ = ["Ask", "Item", "Service", "Settings", "make_app"]
_PLACES = {
    "Ask": "ask",
    "Item": "ask",
    "Service": "core",
    "Settings": "settings",
    "make_app": "app",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(name)
