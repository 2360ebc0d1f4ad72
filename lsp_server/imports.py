"""Imports that an editor waits for, made short.

`lsprotocol.types` is 554 attrs classes, and most of its import is attrs writing and compiling their
methods. Ours do without `__repr__`: a message's representation would hold people's source text,
which is never logged, and the import takes a third less. No garbage is collected meanwhile, since
nothing of an import is garbage.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """For the block that imports the server. What it imported is not looked at by gc again."""
    import attrs
    import cattrs  # noqa: F401 (its own classes, with all they have)

    module: Any = attrs
    define: Callable[..., Any] = attrs.define

    def bare(cls: type | None = None, **options: Any) -> Any:
        options.setdefault("repr", False)
        return define(**options) if cls is None else define(cls, **options)

    collects = gc.isenabled()
    gc.disable()
    module.define = bare
    try:
        import lsprotocol.types  # noqa: F401
    finally:
        module.define = define
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
