"""Server-sent events out of bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Lines end with CR, LF or CRLF and with nothing else: text that holds U+2028 or a form feed is not
cut, which readers of lines in Python do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One event. id: the last that was told, of this event or one before."""

    event: str
    data: str
    id: str


class Parser:
    """Bytes in, events out, wherever the bytes are cut."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._rest = b""
        self._event, self._data, self._id = "", list[str](), last_id
        self._first, self._after_return = True, False

    def feed(self, data: bytes) -> Iterator[Message]:
        """The events that are whole with these bytes."""
        if not data:
            return
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        *lines, self._rest = _lines(self._rest + data)
        for line in lines:
            found = self._line(line)
            if found is not None:
                yield found

    def _line(self, raw: bytes) -> Message | None:
        if self._first:
            self._first, raw = False, raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        self.last_id = self._id  # an event that was cut is not the last one that came
        return Message(event, "\n".join(data), self.last_id) if data else None


def _lines(data: bytes) -> list[bytes]:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
