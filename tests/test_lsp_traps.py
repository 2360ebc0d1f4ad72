"""Each trap of pygls stays closed."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

import lsp_server
from lsp_server import progress
from lsp_server.main import configure_logging
from lsp_server.transport import END, Reader, Writer
from tests.editing import COMMAND, Local, framed

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
