"""Messages in and out over stdio: a thread that reads, a thread that writes, one loop between.

pygls reads in the pool that its handlers share, so that two busy handlers stall all input, and
writes in the loop, so that a client that does not read stalls everything. Here nothing waits for
anything but the pipe itself. What is no message is answered or passed over, never fatal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

LARGEST = 64 << 20
"""Bytes of one message; a longer one is read to its end and left."""
LONGEST_HEADER = 64 << 10
LENGTH = re.compile(rb"content-length:\s*(\d{1,18})\s*", re.IGNORECASE)
CHUNK = 1 << 16
log = logging.getLogger(__name__)


MALFORMED = object()
"""In place of a message: bytes that are no JSON."""
END = object()
"""In place of a message: there comes no other (`null` is a message, if a malformed one)."""


def own_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for the protocol alone.

    What any library prints goes to standard error from now on.
    """
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    inward = os.fdopen(os.dup(0), "rb")
    os.set_inheritable(out.fileno(), False)
    os.set_inheritable(inward.fileno(), False)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout = sys.stderr
    return inward, out


def read_message(stream: BinaryIO) -> Any:
    """The next message as plain values; `MALFORMED`, or `END` at the end of the stream.

    Header fields other than Content-Length are passed over, and so is anything before one.
    """
    length = None
    while True:
        line = stream.readline(LONGEST_HEADER)
        if not line:
            return END
        found = LENGTH.fullmatch(line.strip())
        if found:
            length = int(found[1])
        elif not line.strip() and length is not None:
            break
    if length > LARGEST:
        left = length
        while left > 0 and (part := stream.read(min(CHUNK, left))):
            left -= len(part)
        log.warning("A message of %d bytes was left: the most is %d", length, LARGEST)
        return MALFORMED if left == 0 else END
    body = stream.read(length)
    if len(body) < length:
        return END
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return MALFORMED


class Reader:
    """Feeds the loop from a thread of its own."""

    def __init__(self, stream: BinaryIO, deliver: Callable[[Any], None]) -> None:
        self.stream, self.deliver = stream, deliver

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read; `deliver(END)` tells the end of the stream."""

        def read() -> None:
            message: Any = MALFORMED
            while message is not END:
                try:
                    message = read_message(self.stream)
                except (OSError, ValueError):
                    message = END
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self.deliver, message)

        threading.Thread(target=read, name="lsp-input", daemon=True).start()


class Writer:
    """What pygls writes to: whole messages into a queue, which a thread empties."""

    def __init__(self, stream: BinaryIO, on_broken: Callable[[], None]) -> None:
        self.stream, self._on_broken = stream, on_broken
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lsp-output", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Send soon; never waits."""
        self._queue.put(data)

    def close(self) -> None:
        """Write what is left, for half a second at most."""
        self._queue.put(None)
        self._thread.join(0.5)

    def _run(self) -> None:
        try:
            while (data := self._queue.get()) is not None:
                view = memoryview(data)
                while view:
                    view = view[self.stream.write(view) or 0 :]
        except (OSError, ValueError):
            self._on_broken()
