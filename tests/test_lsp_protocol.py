"""The protocol hardened: each trap of pygls stays closed, and nothing malformed ends the server."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from lsprotocol import types

import lsp_server
from lsp_server import progress, transport
from lsp_server.main import configure_logging
from lsp_server.transport import END, MALFORMED, Reader, Writer, read_message
from tests.editing import COMMAND, Local, framed, raw

SECRET = "class Secret_of_the_user: pass"


def code(answer: dict[str, Any] | None) -> int:
    """The code of an error response."""
    assert answer is not None
    found: int = answer["error"]["code"]
    return found


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is true; the test's own time limit ends it."""
    while not true():
        await asyncio.sleep(0)


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


# --- pygls' traps


def test_what_a_library_prints_never_reaches_the_protocol() -> None:
    """`print`, file descriptor 1 and child processes all go to standard error."""
    script = (
        "import os, subprocess\n"
        "from lsp_server.transport import own_stdio\n"
        "inward, outward = own_stdio()\n"
        "print('one'); os.write(1, b'two\\n')\n"
        "subprocess.run(['echo', 'three'])\n"
        "outward.write(b'protocol')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"protocol"
    assert sorted(done.stderr.split()) == [b"one", b"three", b"two"]


def test_input_goes_on_while_every_pool_is_busy() -> None:
    """The reader has a thread of its own, whatever handlers or libraries do with theirs."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        local, release = Local(), threading.Event()
        for _ in range(64):
            local.server.thread_pool.submit(release.wait)
            loop.run_in_executor(None, release.wait)
        inward, outward = os.pipe()
        got: asyncio.Queue[Any] = asyncio.Queue()
        Reader(os.fdopen(inward, "rb"), got.put_nowait).start(loop)
        os.write(outward, framed(b'{"a": 1}'))
        assert await asyncio.wait_for(got.get(), 10) == {"a": 1}
        os.close(outward)
        assert await asyncio.wait_for(got.get(), 10) is END
        release.set()

    asyncio.run(check())


def test_an_editor_that_does_not_read_stalls_nobody() -> None:
    """Writing is queued; a broken pipe ends the server, once."""
    inward, outward = os.pipe()
    broken = threading.Event()
    stream = os.fdopen(outward, "wb", buffering=0)
    writer = Writer(stream, broken.set)
    for _ in range(20):
        writer.write(b"x" * 1_000_000)
    assert not broken.is_set()
    os.close(inward)
    assert broken.wait(10)


def test_only_coroutines_can_be_handlers() -> None:
    """A blocking handler could not be cancelled; one in a thread neither."""
    local = Local()
    with pytest.raises(TypeError, match="coroutine"):
        local.server.feature("textDocument/definition")(lambda params: None)
    with pytest.raises(TypeError, match="coroutine"):
        local.server.command("x")(lambda: None)
    with pytest.raises(TypeError, match="thread"):
        local.server.thread()
    for start in (local.server.start_tcp, local.server.start_ws):
        with pytest.raises(TypeError, match="one editor"):
            start("localhost", 0)
    handlers = {**local.server.protocol.fm.features, **local.server.protocol.fm.commands}
    assert handlers
    assert all(asyncio.iscoroutinefunction(handler) for handler in handlers.values())


def waiting(local: Local) -> list[str]:
    """Add a request and a command that wait for ever; the list tells what became of them."""
    seen: list[str] = []

    async def wait_for_ever(*given: Any) -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    local.server.feature("textDocument/definition")(wait_for_ever)
    local.server.command("wait")(wait_for_ever)
    return seen


PLACE = {"textDocument": {"uri": "file:///a"}, "position": {"line": 0, "character": 0}}


@pytest.mark.parametrize(
    ("method", "params"),
    [("textDocument/definition", PLACE), ("workspace/executeCommand", {"command": "wait"})],
)
def test_a_cancelled_handler_answers_at_once(method: str, params: Any) -> None:
    """-32800, and the handler's own work is cancelled, a command's too."""

    async def check() -> None:
        local = Local()
        seen = waiting(local)
        await local.begin()
        local.send(method, params, 7)
        while seen != ["began"]:
            await asyncio.sleep(0)
        local.send("$/cancelRequest", {"id": 7})
        for _ in range(5):
            await asyncio.sleep(0)
        assert code(local.sent.answer(7)) == -32800
        assert seen == ["began", "cancelled"]
        assert local.server.protocol._request_futures == {}

    asyncio.run(check())


def test_a_storm_of_cancellations_leaves_one_answer_each_and_nothing_behind() -> None:
    """Two thousand requests, cancelled twice each, in turns with edits."""

    async def check() -> None:
        local = Local()
        waiting(local)
        await local.begin()
        for number in range(2000):
            local.send("textDocument/definition", PLACE, number)
            local.send("$/cancelRequest", {"id": number})
            local.send("$/cancelRequest", {"id": number})
            if number % 100 == 0:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        ids = [m["id"] for m in local.sent if "error" in m]
        assert sorted(ids) == list(range(2000))
        assert local.server.protocol._request_futures == {}

    asyncio.run(check())


def test_shutdown_cancels_what_runs() -> None:
    """Everybody who waits is answered before the end."""

    async def check() -> None:
        local = Local()
        waiting(local)
        await local.begin()
        local.send("textDocument/definition", PLACE, 7)
        assert (await local.ask(8, "shutdown"))["result"] is None
        await until(lambda: local.sent.answer(7) is not None)
        assert code(local.sent.answer(7)) == -32800

    asyncio.run(check())


def test_a_reply_that_nobody_waits_for_any_more_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """pygls raises `InvalidStateError` there. The editor is told to stop."""

    async def check() -> None:
        local = Local()
        await local.begin()
        edit = types.ApplyWorkspaceEditParams(edit=types.WorkspaceEdit())
        task = asyncio.ensure_future(local.server.protocol.ask("workspace/applyEdit", edit))
        await until(lambda: bool(local.sent.called("workspace/applyEdit")))
        task.cancel()
        await until(task.done)
        local.reply("workspace/applyEdit", {"applied": True})
        await asyncio.sleep(0)
        assert task.cancelled()
        assert local.sent.called("$/cancelRequest")

    asyncio.run(check())
    assert not caplog.records


def test_the_editor_cannot_cancel_what_we_asked_of_it() -> None:
    """Its ids and ours are apart."""

    async def check() -> None:
        local = Local()
        await local.begin()
        edit = types.ApplyWorkspaceEditParams(edit=types.WorkspaceEdit())
        task = asyncio.ensure_future(local.server.protocol.ask("workspace/applyEdit", edit))
        await until(lambda: bool(local.sent.called("workspace/applyEdit")))
        local.send("$/cancelRequest", {"id": local.sent.called("workspace/applyEdit")[0]["id"]})
        local.reply("workspace/applyEdit", {"applied": True})
        assert await task == {"applied": True}

    asyncio.run(check())


def test_progress_goes_on_unseen_where_the_editor_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pygls waits for ever; tokens are freed; nothing is sent where progress is not announced."""
    monkeypatch.setattr(progress, "CONSENT_SECONDS", 0.01)

    async def check(enabled: bool) -> Local:
        local = Local()
        await local.begin(capabilities={"window": {"workDoneProgress": enabled}})
        async with local.server.progresses.begin("Work") as report:
            report.update("half", 50)
        assert local.server.progresses.tokens == []
        return local

    assert not asyncio.run(check(True)).sent.called("$/progress")
    assert not asyncio.run(check(False)).sent.called("window/workDoneProgress/create")


def test_cancelling_a_progress_cancels_its_task_and_frees_the_token() -> None:
    """And its end is told."""

    async def check() -> None:
        local = Local()
        await local.begin(capabilities={"window": {"workDoneProgress": True}})

        async def work() -> None:
            async with local.server.progresses.begin("Work"):
                await asyncio.Event().wait()

        task = asyncio.ensure_future(work())
        while not local.sent.called("window/workDoneProgress/create"):
            await asyncio.sleep(0)
        local.reply("window/workDoneProgress/create", None)
        while not local.server.progresses.tokens:
            await asyncio.sleep(0)
        token = local.server.progresses.tokens[0]
        local.send("window/workDoneProgress/cancel", {"token": token})
        with pytest.raises(asyncio.CancelledError):
            await task
        kinds = [m["params"]["value"]["kind"] for m in local.sent.called("$/progress")]
        assert kinds == ["begin", "end"]
        assert local.server.progresses.tokens == []

    asyncio.run(check())


def test_an_error_is_a_sentence_and_the_log_has_no_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No traceback, no path, no text of the user's: neither to the editor nor to the log."""

    async def check() -> None:
        local = Local()

        async def fails(params: Any) -> None:
            raise ValueError(SECRET)

        local.server.feature("textDocument/definition")(fails)
        await local.begin()
        answer = await local.ask(7, "textDocument/definition", PLACE)
        assert answer["error"] == {"code": -32603, "message": "Internal error (ValueError)"}
        item = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": SECRET}
        local.send("textDocument/didOpen", {"textDocument": {**item, "version": SECRET}})
        assert not local.sent.called("window/showMessage")

    with caplog.at_level(logging.WARNING):
        asyncio.run(check())
    assert "ValueError" in caplog.text
    assert "Secret" not in caplog.text


def test_pygls_itself_logs_nothing() -> None:
    """Its lines at INFO hold every body, and those of its errors hold parameters."""
    configure_logging("debug")
    for name in ("pygls.protocol.json_rpc", "pygls.server", "pygls.feature_manager"):
        assert not logging.getLogger(name).isEnabledFor(logging.CRITICAL)


def test_the_protocol_s_values_are_made_by_keyword_only() -> None:
    """lsprotocol 3.18 put new fields between the old ones (`Command.tooltip`)."""
    folder = Path(lsp_server.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            base = node.func.value
            if isinstance(base, ast.Name) and base.id == "types" and node.func.attr[0].isupper():
                assert not node.args, f"{path}:{node.lineno}"


def test_half_a_character_passes_through() -> None:
    """Editors hold lone surrogates; JSON carries them as escapes."""

    async def check() -> None:
        local = Local()
        await local.begin()
        item = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x = '\ud83d'"}
        local.send("textDocument/didOpen", {"textDocument": item})
        document = local.server.documents.get("file:///a.py")
        assert document is not None
        assert document.data.endswith(b"\xed\xa0\xbd'")
        params = types.LogMessageParams(type=types.MessageType.Info, message="\ud83d")
        local.server.protocol.notify("window/logMessage", params)
        assert local.sent[-1]["params"]["message"] == "\ud83d"

    asyncio.run(check())


def test_the_command_tells_its_version_and_takes_editors_arguments() -> None:
    """`--stdio` and `--clientProcessId`, as VS Code's library writes them."""
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("codeprompt-lsp ")
    done = subprocess.run(
        [*COMMAND, "--stdio", "--clientProcessId=1"], input=b"", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_the_server_imports_neither_torch_nor_fastapi() -> None:
    """It is thin: one process an editor."""
    script = (
        "import sys, asyncio, lsp_server.server as s; s.CodepromptServer();"
        "from lsp_server.features import register_for; import lsp_server.commands.tune;"
        "print([m for m in ('torch', 'numpy', 'fastapi', 'transformers', 'datasets')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", json.dumps(done.stdout)


def test_types_name_the_methods_that_are_registered() -> None:
    """What is registered is a method of LSP, so that parameters are checked against it."""
    local = Local()
    known = set(types.METHOD_TO_TYPES)
    assert set(local.server.protocol.fm.features) <= known
