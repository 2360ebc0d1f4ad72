"""The protocol's life cycle, and input that is malformed: nothing ends the server but its end."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lsp_server import transport
from lsp_server.transport import END, MALFORMED, read_message
from tests.editing import COMMAND, Local, framed, raw


def code(answer: dict[str, Any] | None) -> int:
    """The code of an error response."""
    assert answer is not None
    found: int = answer["error"]["code"]
    return found


# --- life cycle


def test_the_life_cycle_is_kept_and_its_end_told_by_the_exit_code() -> None:
    """-32002 before `initialize`, -32600 for a second one and after `shutdown`; exit code 0."""
    with raw() as server:
        assert code(server.ask("textDocument/hover", {})) == -32002
        assert server.begin()["result"]["serverInfo"]["name"] == "codeprompt"
        assert code(server.ask("initialize", {"processId": None, "capabilities": {}})) == -32600
        assert server.ask("shutdown")["result"] is None
        assert code(server.ask("textDocument/hover", {})) == -32600
        assert code(server.ask("shutdown")) == -32600
        server.send("exit")
        assert server.process.wait(10) == 0


def test_exit_without_shutdown_ends_with_an_error() -> None:
    """The protocol says 1."""
    with raw() as server:
        server.begin()
        server.send("exit")
        assert server.process.wait(10) == 1


def test_the_end_of_input_ends_the_server() -> None:
    """An editor that crashed closes its pipe."""
    with raw() as server:
        server.begin()
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(10) == 1


def test_an_initialize_that_does_not_fit_can_be_repeated() -> None:
    """Its error does not count as the beginning."""

    async def check() -> None:
        local = Local()
        assert code(await local.ask(1, "initialize", {"capabilities": 7})) == -32602
        assert "result" in await local.begin()

    asyncio.run(check())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes are inherited another way")
def test_a_killed_editor_leaves_no_orphan() -> None:
    """Also where another process holds the pipe open, so that no end of input comes."""
    hold = (
        "import json, subprocess, sys, os\n"
        "body = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'initialize',\n"
        "  'params': {'processId': os.getpid(), 'capabilities': {}}}).encode()\n"
        f"p = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "keep = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],\n"
        "  pass_fds=[p.stdin.fileno()], stdout=subprocess.DEVNULL)\n"
        "p.stdin.write(b'Content-Length: %d\\r\\n\\r\\n%s' % (len(body), body)); p.stdin.flush()\n"
        "p.stdout.readline()\n"
        "print(p.pid, keep.pid, flush=True)\n"
        "input()\n"
    )
    editor = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert editor.stdout is not None
    server, keeper = map(psutil.Process, map(int, editor.stdout.readline().split()))
    editor.kill()
    editor.communicate()
    try:
        server.wait(10)
    finally:
        keeper.kill()
        if server.is_running():
            server.kill()


def test_a_parent_that_cannot_be_seen_is_not_watched() -> None:
    """The editor may count its processes in another container."""

    async def check() -> None:
        local = Local()
        await local.begin(processId=2**22 + 12345)
        await asyncio.sleep(0)
        assert local.codes == []
        assert not local.server.tasks

    asyncio.run(check())


# --- malformed input


MALFORMED_MESSAGES = [
    (b"{", -32700),
    (b"\xff\xfe", -32700),
    (b"[" * 100_000, -32700),
    (b"[]", -32600),
    (b'[{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}]', -32600),
    (b"7", -32600),
    (b'"text"', -32600),
    (b"null", -32600),
    (b'{"jsonrpc": "2.0", "id": null, "method": "shutdown"}', -32600),
    (b'{"jsonrpc": "2.0", "id": true, "method": "shutdown"}', -32600),
    (b'{"jsonrpc": "2.0", "id": [1], "method": "shutdown"}', -32600),
    (b'{"jsonrpc": "2.0", "id": 1.5, "method": "shutdown"}', -32600),
    (b'{"jsonrpc": "2.0", "id": 5, "method": 5}', -32600),
    (b'{"jsonrpc": "1.0", "id": 5, "method": "shutdown"}', -32600),
    (b'{"id": 5, "method": "shutdown"}', -32600),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "textDocument/hover"}', -32602),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "textDocument/hover", "params": []}', -32602),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "textDocument/hover", "params": {"position": 1}}',
     -32602),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "workspace/executeCommand",'
     b' "params": {"command": "none"}}', -32602),
    (b'{"jsonrpc": "2.0", "id": 5, "method": "no/such"}', -32601),
]  # fmt: skip
IGNORED = [
    b"{}",
    b'{"jsonrpc": "2.0"}',
    b'{"jsonrpc": "2.0", "id": 99, "result": 1}',
    b'{"jsonrpc": "2.0", "id": {"a": 1}, "result": 1}',
    b'{"jsonrpc": "2.0", "id": 99, "error": 3}',
    b'{"jsonrpc": "2.0", "method": "no/such"}',
    b'{"jsonrpc": "2.0", "method": "$/unknown", "params": {"class": 1, "def": [2]}}',
    b'{"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": 1}}',
    b'{"jsonrpc": "2.0", "method": "textDocument/didChange", "params": {"textDocument": '
    b'{"uri": "file:///not-open", "version": 1}, "contentChanges": [{"text": ""}]}}',
    b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 12345}}',
    b'{"jsonrpc": "2.0", "method": "window/workDoneProgress/cancel", "params": {"token": "x"}}',
]


def test_what_is_no_message_is_answered_and_the_server_goes_on() -> None:
    """One process takes all of it, and still answers."""
    with raw() as server:
        server.begin()
        for body, expected in MALFORMED_MESSAGES:
            server.write(framed(body))
            answer = server.read()
            while "method" in answer:
                answer = server.read()
            assert answer["error"]["code"] == expected, body
            assert set(answer["error"]) == {"code", "message"}, body
            if b'"id": 5' in body:
                assert answer["id"] == 5
        for body in IGNORED:
            server.write(framed(body))
        server.write(b"garbage\r\nContent-Type: x\r\n" + b"\r\n" * 3)
        assert server.end() == 0


def test_headers_may_come_in_any_case_and_order() -> None:
    """Clients write `content-length` and a Content-Type before or after."""
    stream = io.BytesIO(
        b"Content-Type: application/json\r\ncontent-length:2\r\n\r\n{}"
        b"Content-Length: 2\r\nX: y\r\n\r\n[]"
        b"Content-Length: 5\r\n\r\nnu"
    )
    assert [read_message(stream) for _ in range(3)] == [{}, [], END]


def test_a_message_that_is_too_long_is_left_and_the_next_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is read to its end, never held."""
    monkeypatch.setattr(transport, "LARGEST", 100)
    stream = io.BytesIO(framed(b"1" * 101) + framed(b"{}"))
    assert read_message(stream) is MALFORMED
    assert read_message(stream) == {}


@pytest.mark.slow
def test_a_huge_document_is_taken(tmp_path: Path) -> None:
    """Twenty megabytes: told as left alone, and everything goes on."""
    with raw() as server:
        server.begin()
        text = "def f():\n    return 1\n" * 1_000_000
        item = {"uri": (tmp_path / "a.py").as_uri(), "languageId": "python", "version": 1}
        server.send("textDocument/didOpen", {"textDocument": {**item, "text": text}})
        place = {"textDocument": {"uri": item["uri"]}, "position": {"line": 0, "character": 5}}
        assert server.ask("textDocument/hover", place)["result"] is None
        assert server.end() == 0
