"""Other white space: half the indentation, no blank lines, a space inside round brackets.

Texts and comments of several lines stay as they are. Rows of joined tokens do not change at all.
"""

from __future__ import annotations

import re

from codeprompt.bench.transforms.base import Source, Transform

WHOLE = ("comment", "string", "literal", "preproc", "heredoc", "template")


def change(source: Source) -> bytes | None:
    """Line by line; a line that begins inside a text or a comment is kept."""
    spans = [
        (node.start_byte, node.end_byte)
        for node in source.walk()
        if any(word in node.type for word in WHOLE) and b"\n" in (node.text or b"")
    ]
    out, at = [], 0
    for line in source.data.splitlines(keepends=True):
        inside = any(start < at < end for start, end in spans)
        at += len(line)
        if inside:
            out.append(line)
        elif line.strip():
            out.append(_halved(line))
    data = b"".join(out)
    return data if source.data.endswith(b"\n") else data.rstrip(b"\n")


def _halved(line: bytes) -> bytes:
    body = line.lstrip(b" \t")
    width = len(line[: len(line) - len(body)].expandtabs(4))
    return b" " * (width // 2) + _spaced(body)


def _spaced(body: bytes) -> bytes:
    """`(x)` as `( x )`, where the line holds no text in quotes."""
    if re.search(rb"[\"'`#]|//", body):
        return body
    return re.sub(rb"(?<=\S) \)", b" )", re.sub(rb"\((?=[^\s)])", b"( ", body))


TRANSFORM = Transform(change, whitespace=True)
