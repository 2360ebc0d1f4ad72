"""A language server over its pipes, as `editor` drives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PULLS = {
    "textDocument": {
        "diagnostic": {},
        "hover": {"contentFormat": ["markdown"]},
        "codeAction": {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}},
            "resolveSupport": {"properties": ["edit"]},
        },
    },
    "workspace": {"workspaceEdit": {"documentChanges": True}, "applyEdit": True},
}


class Server:
    """A server process over its pipes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lsp_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
        )  # fmt: skip
        self.number = 0

    def send(self, method: str, params: Any, number: int | None = None) -> None:
        """A request (with a number) or a notification."""
        assert self.process.stdin is not None
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        body = json.dumps(message if number is None else {**message, "id": number}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline():
            if line.startswith(b"Content-Length:"):
                length = int(line.split(b":")[1])
            elif not line.strip():
                found: dict[str, Any] = json.loads(self.process.stdout.read(length))
                return found
        raise SystemExit("The server has ended.")

    def answer(self, number: int) -> dict[str, Any]:
        """The response to a request."""
        while True:
            found = self.read()
            if found.get("id") == number and "method" not in found:
                return found

    def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        self.number += 1
        self.send(method, params, self.number)
        found = self.answer(self.number)
        if "error" in found:
            raise SystemExit(f"{method}: {found['error']['message']}")
        return found["result"]

    def begin(self, folder: Path) -> None:
        """`initialize` and `initialized`; a hover waits for its answer, warnings are on."""
        set_up = {
            "hover": {"budget": 120_000, "minimumConfidence": 0.0},
            "diagnostics": {"mode": "on", "threshold": 0.0},
            "pause": {"onBattery": False, "memory": 0},
        }
        uri = folder.as_uri()
        params = {"processId": os.getpid(), "rootUri": uri, "capabilities": PULLS,
                  "initializationOptions": set_up}  # fmt: skip
        self.ask("initialize", params)
        self.send("initialized", {})

    def ready(self, folder: Path) -> None:
        """Begin, and wait for an engine that answers."""
        self.begin(folder)
        uri = self.open(folder / "first.py", "def first(a):\n    return a\n")
        self.hover(uri, 0)

    def open(self, path: Path, text: str) -> str:
        """Open a document."""
        item = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        self.send("textDocument/didOpen", {"textDocument": item})
        return path.as_uri()

    def hover(self, uri: str, line: int) -> Any:
        """A hover on the name behind `def `."""
        return self.ask("textDocument/hover", place(uri, line))

    def megabytes(self) -> float:
        """Resident memory."""
        import psutil

        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)


@contextmanager
def served(env: Mapping[str, str]) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(env)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def place(uri: str, line: int) -> dict[str, Any]:
    """The place of a function's head: on its first line, which `def` may be indented on."""
    return {"textDocument": {"uri": uri}, "position": {"line": line, "character": 8}}
