"""Imports that an editor waits for, made short.

`lsprotocol.types` is 554 attrs classes of which a session uses some sixty, and most of its import
is attrs writing and compiling methods. Here a class gets them when it is first used: made,
structured, or asked for its fields. They go without `__repr__`: a message's representation would
hold people's source text, which is never logged. Measured: docs/decisions.md.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

SELDOM = 20_000
"""New objects between two looks for garbage; Python's own 700 are many looks in an import."""


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """For the block that imports the server."""
    import attrs
    import cattrs  # noqa: F401 (its own classes, with all they have)

    often = gc.get_threshold()
    gc.set_threshold(SELDOM)
    module: Any = attrs
    define = module.define
    module.define = _later
    try:
        from lsprotocol import _hooks as hooks
    finally:
        module.define = define
    # Else the first converter would ask every class for its fields, to resolve their types.
    hooks._resolved_forward_references = True
    try:
        yield
    finally:
        gc.set_threshold(*often)


def _later(cls: type) -> type:
    """In the place of `attrs.define`, whose marks stay on the class until it is used."""
    now: Any = cls
    now.__attrs_attrs__ = _Fields()
    now.__init__ = _first
    return cls


class _Fields:
    """What attrs and all who ask it look for on a class; here the question makes the answer."""

    def __get__(self, instance: object, owner: type) -> Any:
        _define(owner)
        return owner.__attrs_attrs__  # type: ignore[attr-defined]


def _first(self: object, *args: Any, **fields: Any) -> None:
    _define(type(self))
    self.__init__(*args, **fields)  # type: ignore[misc]


def _define(owner: type) -> None:
    import attrs
    from lsprotocol import types

    for cls in owner.__mro__:
        if isinstance(cls.__dict__.get("__attrs_attrs__"), _Fields):
            del cls.__attrs_attrs__, cls.__init__  # type: ignore[attr-defined, misc]
            attrs.define(cls, slots=False, repr=False)  # in place: others hold the class already
            attrs.resolve_types(cls, types.ALL_TYPES_MAP, {})
