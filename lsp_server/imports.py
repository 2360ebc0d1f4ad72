"""Imports that an editor waits for, made short.

`lsprotocol.types` is 554 attrs classes, and most of its import is attrs writing and compiling their
methods. Ours do without `__repr__`: a message's representation would hold people's source text,
which is never logged, and the import takes a third less. Garbage is looked for seldom meanwhile:
attrs leaves each class's first form behind, 7 MB if nobody looked.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

SELDOM = 20_000
"""New objects between two looks; Python's own 700 are many looks in an import of a million."""


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """For the block that imports the server."""
    import attrs
    import cattrs  # noqa: F401 (its own classes, with all they have)

    module: Any = attrs
    define: Callable[..., Any] = attrs.define

    def bare(cls: type | None = None, **options: Any) -> Any:
        options.setdefault("repr", False)
        return define(**options) if cls is None else define(cls, **options)

    often = gc.get_threshold()
    gc.set_threshold(SELDOM)
    module.define = bare
    try:
        import lsprotocol.types  # noqa: F401
    finally:
        module.define = define
    try:
        yield
    finally:
        gc.set_threshold(*often)
