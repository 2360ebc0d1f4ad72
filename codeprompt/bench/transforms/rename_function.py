"""The function's own name becomes `f`, or `f1` where that is taken: how much did it give away?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from codeprompt.bench.transforms.base import Source, Transform
from codeprompt.languages.functions.names import function_name


def _names() -> Iterator[bytes]:
    yield b"f"
    yield from (f"f{number}".encode() for number in itertools.count(1))


def change(source: Source) -> bytes | None:
    """The name where it is declared and where the function calls itself."""
    for node in source.walk():
        if node.type not in source.language.functions:
            continue
        names = function_name(node, None)
        old = names[-1].encode() if names else b""
        taken = {leaf.text for leaf in source.walk() if leaf.child_count == 0} - {old}
        new = next(n for n in _names() if n not in taken)
        edits = [
            (leaf.start_byte, leaf.end_byte, new)
            for leaf in source.walk(node)
            if leaf.child_count == 0 and leaf.text == old and leaf.type.endswith("identifier")
        ]
        return source.edited(edits) if edits and old != new else None
    return None


TRANSFORM = Transform(change)
