"""Lines and columns as LSP counts them: in UTF-8 bytes, UTF-16 units or code points.

Lines end with `\\n`, `\\r\\n` or `\\r` and with nothing else (LSP 3.18, "Text Documents"); Python's
`str.splitlines` also cuts at `\\f`, `\\v`, NEL, U+2028 and others, and misplaces later edits.
"""

from __future__ import annotations

import re
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]
BREAK = re.compile(r"\r\n|\r|\n")


def line_starts(text: str, offset: int = 0) -> list[int]:
    """Offsets (in code points) at which a line begins, the first included."""
    return [offset, *(offset + found.end() for found in BREAK.finditer(text))]


def without_break(line: str) -> str:
    """A line without what ends it."""
    return line.rstrip("\r\n")


def width(text: str, encoding: Encoding) -> int:
    """How many units a text takes. Half a surrogate pair, which editors may send, counts as is."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-16":
        return len(text) + sum(1 for sign in text if sign > "\uffff")
    return len(text.encode("utf-8", "surrogatepass"))


def index_in(line: str, units: int, encoding: Encoding) -> int:
    """How many code points the first `units` of a line are; within the line, before its end.

    A position inside a character counts as the one before it.
    """
    line = without_break(line)
    if units <= 0:
        return 0
    if encoding == "utf-32" or line.isascii():
        return min(units, len(line))
    if encoding == "utf-8":
        data = line.encode("utf-8", "surrogatepass")
        while units < len(data) and data[units] & 0xC0 == 0x80:
            units -= 1
        return len(data[:units].decode("utf-8", "surrogatepass"))
    for index, sign in enumerate(line):
        units -= 2 if sign > "\uffff" else 1
        if units < 0:
            return index
        if units == 0:
            return index + 1
    return len(line)
