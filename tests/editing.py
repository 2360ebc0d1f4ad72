"""Language servers under test: in the process, over raw pipes, and as editors start them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from codeprompt.client import PackInfo
from lsp_server.server import CodepromptServer

COMMAND = [sys.executable, "-m", "lsp_server"]
PLAIN: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}


def framed(body: bytes) -> bytes:
    """A message as it goes over the pipe."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class Sent(list[dict[str, Any]]):
    """Takes what a server writes."""

    def write(self, data: bytes) -> None:
        """One whole message."""
        self.append(json.loads(data.partition(b"\r\n\r\n")[2]))

    def close(self) -> None:
        """Nothing to do."""

    def answer(self, number: Any) -> dict[str, Any] | None:
        """The response to a request."""
        return next((m for m in self if m.get("id") == number and "method" not in m), None)

    def called(self, method: str) -> list[dict[str, Any]]:
        """Requests and notifications of a method."""
        return [message for message in self if message.get("method") == method]


class Local:
    """A server inside the process; nothing but its pipes is missing."""

    def __init__(self) -> None:
        self.server = CodepromptServer()
        self.sent = Sent()
        self.codes: list[int] = []
        self.server.protocol.set_writer(self.sent)
        self.server.protocol.on_exit = self.codes.append

    def send(self, method: str, params: Any = None, number: Any = None) -> None:
        """A request (with a number) or a notification."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.server.protocol.receive(message if number is None else {**message, "id": number})

    async def ask(self, number: Any, method: str, params: Any = None) -> dict[str, Any]:
        """A request with its response."""
        self.send(method, params, number)
        while (found := self.sent.answer(number)) is None:
            await asyncio.sleep(0.001)
        return found

    async def begin(self, **params: Any) -> dict[str, Any]:
        """`initialize` and `initialized`."""
        found = await self.ask("begin", "initialize", {**PLAIN, **params})
        self.send("initialized", {})
        return found

    def reply(self, method: str, result: Any) -> None:
        """Answer the server's latest request of a method."""
        number = self.sent.called(method)[-1]["id"]
        self.server.protocol.receive({"jsonrpc": "2.0", "id": number, "result": result})


class Raw:
    """A server process over its pipes, spoken to in bytes."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        self.number = 0

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, params: Any = None, number: Any = None) -> None:
        """A request (with a number) or a notification."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        self.write(framed(json.dumps(message).encode()))

    def read(self) -> dict[str, Any]:
        """The next message. Raises `EOFError` at the end."""
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            elif not line.strip():
                found: dict[str, Any] = json.loads(self.process.stdout.read(length))
                return found
        raise EOFError

    def answer(self, number: Any) -> dict[str, Any]:
        """The response to a request; whatever comes before is passed over."""
        while True:
            found = self.read()
            if found.get("id") == number and "method" not in found:
                return found

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        """A request with its response."""
        self.number += 1
        self.send(method, params, self.number)
        return self.answer(self.number)

    def begin(self, **params: Any) -> dict[str, Any]:
        """`initialize` and `initialized`."""
        found = self.ask("initialize", {**PLAIN, **params})
        self.send("initialized", {})
        return found

    def end(self) -> int:
        """Leave as the protocol says; the exit code."""
        if self.process.poll() is None:
            self.ask("shutdown")
            self.send("exit")
        return self.process.wait(10)


@contextmanager
def raw(env: Mapping[str, str] | None = None) -> Iterator[Raw]:
    """A server process that ends with the block."""
    server = Raw(env)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        for pipe in (server.process.stdin, server.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def opened(path: Path, text: str, language: str, version: int = 1) -> dict[str, Any]:
    """Parameters of `didOpen`."""
    item = {"uri": path.as_uri(), "languageId": language, "version": version, "text": text}
    return {"textDocument": item}


def at(path: Path, line: int, character: int) -> dict[str, Any]:
    """Parameters that name a place."""
    return {
        "textDocument": {"uri": path.as_uri()},
        "position": {"line": line, "character": character},
    }


def listed(name: str, task: str = "summarize", **more: Any) -> PackInfo:
    """A pack as the engine lists it."""
    return PackInfo(**{"name": name, "task": task, "version": "aa", "active": "aa", **more})
