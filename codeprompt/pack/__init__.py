"""Packs: an Injection with its template, verbalizer and card, as a folder of two files.

Cards and names are free of torch; the rest loads when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from codeprompt.pack.card import Card
from codeprompt.pack.lookup import available, find

if TYPE_CHECKING:
    from codeprompt.pack.fit import check_backbone
    from codeprompt.pack.inspect import nearest_tokens
    from codeprompt.pack.packed import Pack
    from codeprompt.pack.peft import export_peft, import_peft
    from codeprompt.pack.store import check_target, load, make_pack, save

__all__ = [
    "Card",
    "Pack",
    "available",
    "check_backbone",
    "check_target",
    "export_peft",
    "find",
    "import_peft",
    "load",
    "make_pack",
    "nearest_tokens",
    "save",
]
_PLACES = {
    "Pack": "packed",
    "check_target": "store",
    "load": "store",
    "make_pack": "store",
    "save": "store",
    "check_backbone": "fit",
    "nearest_tokens": "inspect",
    "export_peft": "peft",
    "import_peft": "peft",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(name)
