"""The engine's whole process over its real socket: begun, asked, replaced, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import httpx
import psutil
import pytest

import codeprompt
from codeprompt.client import (
    Client,
    DrainingError,
    Home,
    Item,
    Token,
    UnreachableError,
    connect,
    connect_async,
    state,
    stop,
)
from codeprompt.client import address as addresses
from codeprompt.errors import EngineError, PackError, UsageError
from tests.killing import write_data
from tests.living import (
    CODE,
    begin,
    functions,
    home,
    of_home,
    own_home,
    run_python,
    serve,
    wait_until,
    write_pack,
)
from tests.tiny import tiny_t5

TINY = {
    "shots": 6,
    "dev": 3,
    "batch": 2,
    "patience": 50,
    "source_length": 40,
    "target_length": 5,
    "precision": "float32",
}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="Unix sockets and signals")
__all__ = ["home"]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An engine on the built-in backbone with a pack; tests that leave it be share it."""
    with own_home() as folder:
        place = Home(folder)
        before = os.environ.get("CODEPROMPT_HOME")
        os.environ["CODEPROMPT_HOME"] = str(folder)
        try:
            with connect(timeout=60) as engine:
                engine.upload_pack(write_pack(tmp_path_factory.mktemp("packs")))
            yield place
        finally:
            if before is None:
                del os.environ["CODEPROMPT_HOME"]
            else:
                os.environ["CODEPROMPT_HOME"] = before


@pytest.fixture
def engine(warm: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the shared engine."""
    monkeypatch.setenv("CODEPROMPT_HOME", str(warm.folder))
    with connect() as client:
        yield client


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny backbone's folder: an engine that shall only begin and end need not load much."""
    folder = tmp_path_factory.mktemp("backbone")
    tiny_t5(folder)
    return str(folder)


# Asked


def test_a_hover_is_answered_and_the_next_one_from_the_cache(engine: Client) -> None:
    """Through the socket, by the backbone that ships."""
    (first,) = engine.summarize(CODE, "python", priority="hover", deadline_ms=60_000)
    assert first.function == "add" and first.text and first.pack == "summarize"
    assert (first.start_line, first.end_line) == (1, 3)
    (second,) = engine.summarize(CODE, "python", priority="hover")
    assert second.cached and second.text == first.text


def test_a_stream_gives_the_text_in_parts_and_then_whole(engine: Client) -> None:
    """Both clients, the same."""

    async def awaited() -> list[Token | Item]:
        async with await connect_async(start=False) as client:
            return [found async for found in client.stream("summarize", CODE, "python")]

    engine.clear_cache()
    found = list(engine.stream("summarize", CODE, "python"))
    *parts, whole = found
    assert isinstance(whole, Item) and all(isinstance(part, Token) for part in parts)
    assert "".join(part.text for part in parts if isinstance(part, Token)).strip() == whole.text
    engine.clear_cache()
    assert asyncio.run(awaited()) == found


def test_errors_keep_their_class_and_their_words(engine: Client) -> None:
    """As if the engine were in this process."""
    with pytest.raises(PackError, match="'nope'"):
        engine.summarize(CODE, "python", pack="nope")
    with pytest.raises(PackError, match="no pack for the task 'localize'"):
        engine.localize(CODE, "python")
    good, bad = engine.batch(
        [
            {"task": "summarize", "code": CODE, "language": "python"},
            {"task": "defects", "code": "x"},
        ]
    )
    assert isinstance(good, list) and good[0].text
    assert not isinstance(bad, list) and bad.message


def test_leaving_a_stream_stops_the_computing(engine: Client) -> None:
    """Whoever goes away is computed for no longer."""

    async def leave() -> None:
        async with await connect_async(start=False) as client:
            stream = client.stream("summarize", functions(200), "python", priority="batch")
            async with aclosing(stream):  # type: ignore[type-var]
                async for _ in stream:
                    break

    asyncio.run(leave())
    wait_until(lambda: engine.status()["in_flight"] == 0, "it goes on computing", seconds=10)


def test_a_cancelled_call_stops_the_computing(engine: Client) -> None:
    """Cancelling the task closes its connection."""

    async def cancel() -> None:
        async with await connect_async(start=False) as client:
            task = asyncio.create_task(client.summarize(functions(200), "python"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    wait_until(lambda: engine.status()["in_flight"] == 0, "it goes on computing", seconds=10)


def test_packs_are_uploaded_activated_and_rolled_back(engine: Client, tmp_path: Path) -> None:
    """The calls of the client, against the real state."""
    folder = write_pack(tmp_path, "other")
    added = engine.upload_pack(folder, activate=False)
    assert (added.name, added.active) == ("other", None)
    assert engine.activate("other", added.version).active == added.version
    with pytest.raises(UsageError, match="Activate another version first"):
        engine.retire("other", added.version)
    assert engine.retire("other").active is None
    assert "other" in {pack.name for pack in engine.packs()}
    assert engine.pack("other").versions[0].retired


# What it stands on


def test_socket_and_files_are_for_their_owner(engine: Client, warm: Home) -> None:
    """0600 in 0700, from the beginning."""
    assert stat.S_IMODE(warm.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(warm.socket.parent.stat().st_mode) == 0o700
    for path in (warm.record_file, warm.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert engine.health().pid == state(warm).pid


def test_the_engine_stands_apart_from_who_started_it(engine: Client, warm: Home) -> None:
    """Its own session; no terminal, no pipe, no file of ours is open in it."""
    pid = engine.health().pid
    assert os.getsid(pid) == pid != os.getsid(0)
    process = psutil.Process(pid)
    assert Path(process.cwd()) == warm.folder
    if Path("/proc/self/fd").is_dir():
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]
        assert targets == ["/dev/null", str(warm.log), str(warm.log)]
        mine = {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists()}
        theirs = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if f.exists()}
        assert not {t for t in mine & theirs if t.startswith(("pipe:", "socket:"))}


def test_one_engine_for_one_state_folder(engine: Client, warm: Home) -> None:
    """A second one says who is there, and leaves it be."""
    second = serve()
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"runs already for {warm.folder}: process {engine.health().pid}" in said
    assert engine.health().status == "ok"


@pytest.mark.slow
def test_no_socket_is_taken_from_another(engine: Client, warm: Home) -> None:
    """Not even with a state folder of its own."""
    with own_home() as other:
        code = f"import os; os.environ['CODEPROMPT_HOME'] = {str(other)!r}"
        second = serve("--uds", warm.socket, before=code)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 2 and "An engine runs already" in said
    assert engine.health().status == "ok"


# Begun


def test_any_number_of_clients_at_once_start_one_engine(home: Home) -> None:
    """All are connected to it."""
    code = "from codeprompt.client import connect; print(connect().health().pid)"
    clients = [run_python(code) for _ in range(5)]
    found = [client.communicate(timeout=90) for client in clients]
    pids = {out.strip() for out, _ in found}
    assert len(pids) == 1 and pids == {str(state(home).pid)}, found
    assert stop(home=home) and not stop(home=home)
    assert not home.socket.exists() and not home.record_file.exists()


def test_what_a_killed_engine_left_is_in_nobody_s_way(home: Home) -> None:
    """Its socket and its record are believed by nobody; a client goes on with a new engine."""
    with connect() as client:
        first = client.health().pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not home.alive(), "the lock outlives its process")
        assert home.socket.exists() and home.record_file.exists()
        assert not state(home).running
        assert client.health().pid != first
    assert state(home).running


def test_an_engine_of_another_version_is_replaced(home: Home, small: str) -> None:
    """It ends as if it had been asked to, and a client that may not start one says so."""
    old = serve("--backbone", small, before="import codeprompt; codeprompt.__version__ = '0.0.1'")
    wait_until(lambda: state(home).health is not None, "the old engine does not answer")
    with connect(start=False) as client:
        assert client.health().version == "0.0.1"
    with connect() as client:
        assert client.health().version == codeprompt.__version__
    assert old.wait(timeout=30) == 0
    for pipe in (old.stdout, old.stderr):
        assert pipe is not None
        pipe.close()


def test_an_engine_that_cannot_start_says_why(home: Home) -> None:
    """The end of its log is in the error."""
    home.folder.mkdir(parents=True)
    (home.folder / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(EngineError, match=r"ended with status 2\..*cannot be read.*engine\.log"):
        connect()
    assert not state(home).running


# Ended


def test_sigterm_lets_what_is_in_flight_finish(home: Home, tmp_path: Path) -> None:
    """What comes meanwhile is refused, and goes to the next engine where its client may start one;
    then the socket is gone and the status is 0."""
    process = serve()
    wait_until(lambda: state(home).health is not None, "it does not answer")
    found: list[Item] = []
    with connect(start=False) as client, connect() as other:
        client.upload_pack(write_pack(tmp_path))
        client.summarize(CODE, "python")
        asking = threading.Thread(
            target=lambda: found.extend(client.summarize(functions(40), "python"))
        )
        asking.start()
        wait_until(lambda: client.status()["in_flight"] > 0, "nothing is in flight")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _ready(client), "it stays ready")
        with pytest.raises((DrainingError, UnreachableError)):
            client.summarize(CODE, "python")
        (late,) = other.summarize(CODE, "python")
        assert late.text and other.health().pid != process.pid
        asking.join(timeout=60)
        assert len(found) == 40 and all(item.text for item in found)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert stop(home=home) and not home.socket.exists() and not home.record_file.exists()


def _ready(client: Client) -> bool:
    try:
        return bool(client.ready())
    except EngineError:
        return False


@pytest.mark.slow
def test_an_engine_that_nobody_asks_leaves_and_comes_back(home: Home, small: str) -> None:
    """A client that outlives it does not notice."""
    begin(home, "--idle-exit", "4", "--backbone", small)
    with connect() as client:
        first = client.health().pid
        wait_until(lambda: not state(home).running, "it does not leave")
        assert client.packs() is not None and client.health().pid != first


# Over TCP


def test_a_port_asks_for_the_token(home: Home, small: str, tmp_path: Path) -> None:
    """Made where none is given, printed once, and known to the user's own clients."""
    file = tmp_path / "token"
    begin(home, "--port", "0", "--token-file", str(file), "--backbone", small)
    record = home.record()
    assert record is not None and record.url.startswith("http://127.0.0.1:")
    assert record.token == file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert httpx.get(record.url + "/healthz").status_code == 200
    assert httpx.get(record.url + "/v1/status").status_code == 401
    with connect(address=record.url, token=record.token) as client:
        assert client.status()["version"] == codeprompt.__version__
    with connect(address=record.url, token="wrong") as client, pytest.raises(EngineError):
        client.status()
    assert record.token not in home.log.read_text()


@pytest.mark.slow
def test_without_sockets_a_port_takes_their_place(
    home: Home, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: the record says where, and holds the token."""
    before = "import codeprompt.client.address as a; a.SOCKETS = False"
    process = serve("--backbone", small, before=before)
    monkeypatch.setattr(addresses, "SOCKETS", False)
    wait_until(lambda: state(home).health is not None, "it does not answer")
    with connect() as client:
        assert client.address.socket is None and client.address.token
        assert client.status()["version"] == codeprompt.__version__
        assert client.health().pid == process.pid
    assert stop(home=home)
    process.communicate(timeout=30)
    assert process.returncode == 0 and not home.socket.exists()


@pytest.mark.slow
def test_other_machines_are_let_in_only_on_purpose(home: Home, tmp_path: Path) -> None:
    """With a flag and a token that the user chose."""
    for options, words in (
        (("--host", "0.0.0.0"), "give --allow-remote and --token-file"),
        (("--host", "0.0.0.0", "--allow-remote"), "Give --token-file"),
    ):
        process = serve(*options)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2 and words in said


def test_a_stranger_at_a_dead_engine_s_port_gets_no_token(home: Home) -> None:
    """A record counts only while its engine lives."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        home.folder.mkdir(parents=True)
        url = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        home.write(addresses.Record(os.getpid(), 1.0, "v", "h", url=url, token="secret"))
        with pytest.raises(UnreachableError):
            connect(start=False)
        stranger.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stranger.accept()


def test_nothing_is_left_of_an_engine_that_was_stopped(home: Home, small: str) -> None:
    """No process, no socket, no record; the log stays."""
    begin(home, "--backbone", small)
    assert of_home(home.folder)
    assert stop(home=home)
    wait_until(lambda: not of_home(home.folder), "a process is left")
    assert not home.socket.exists() and not home.record_file.exists() and home.log.exists()


# Followed


@pytest.mark.slow
def test_following_a_job_outlives_a_killed_engine(home: Home, tmp_path: Path) -> None:
    """The job goes on from its checkpoint in the next engine, and its events go on after the last
    one seen; at the end its pack answers."""
    write_data(tmp_path)
    backbone = str(tmp_path / "backbone")
    options = {"backbone": backbone, "steps": 40, "evaluate_every": 4, **TINY}
    with connect() as client:
        job = client.submit_job("summarize", str(tmp_path), name="tuned", options=options)
        seen = []
        for event in client.follow(job.id):
            seen.append(event)
            if len(seen) == 4:
                os.kill(client.health().pid, signal.SIGKILL)
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].kind == "done", seen[-1]
        assert client.job(job.id).status == "done"
        (item,) = client.summarize(CODE, "python", pack="tuned")
        assert item.pack == "tuned" and item.version == seen[-1].data["version"]


def test_a_long_log_is_begun_anew_while_the_engine_writes_it(tmp_path: Path) -> None:
    """What was in it is kept once, and nothing more of it grows."""
    code = """
import os, sys
from pathlib import Path
from codeprompt.service.lifecycle import LOG_BYTES, bound_log
log = Path(sys.argv[1])
handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(handle, 1)
os.dup2(handle, 2)
print("x" * (LOG_BYTES + 1), flush=True)
bound_log(log)
print("after")
"""
    process = run_python(code, tmp_path / "engine.log")
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
    assert (tmp_path / "engine.log").read_text() == "after\n"
    assert (tmp_path / "engine.log.1").stat().st_size > 1 << 20
