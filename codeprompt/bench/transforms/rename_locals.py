"""Parameters and local variables become `v1`, `v2`, ...; functions, fields and types stay."""

from __future__ import annotations

from codeprompt.bench.transforms._names import bound, variables
from codeprompt.bench.transforms.base import Source, Transform


def change(source: Source) -> bytes | None:
    """Every occurrence of a bound name, by tree-sitter; a name also used otherwise stays."""
    taken = {(n.text or b"") for n in source.walk() if n.child_count == 0}
    fresh = (f"v{number}".encode() for number in range(1, 10_000))
    new = {name.encode(): next(n for n in fresh if n not in taken) for name in bound(source)}
    edits = [
        (node.start_byte, node.end_byte, new[node.text or b""])
        for node in variables(source)
        if (node.text or b"") in new
    ]
    return source.edited(edits) if edits else None


TRANSFORM = Transform(change)
