"""The client's parts that need no engine: addresses, events, errors, and what it says of itself."""

from __future__ import annotations

import inspect
import itertools
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.client import AsyncClient, Client, UnreachableError, connect
from codeprompt.client import messages as ours
from codeprompt.client.address import LONGEST, Address, Home, Record, check_owner, parse
from codeprompt.client.calls import Call, Flow
from codeprompt.client.describe import Calls
from codeprompt.client.failures import DrainingError, from_response
from codeprompt.client.http import BREAKS, Feed, Revive, Send, encode, exchange
from codeprompt.client.operations import follow, health, submit_job
from codeprompt.client.process import LOG_BYTES, is_alive, last_lines, rotate
from codeprompt.client.questions import stream, summarize
from codeprompt.client.sse import Parser
from codeprompt.errors import EngineError, PackError, QueueFullError
from codeprompt.service import wire
from codeprompt.service.app import make_app
from codeprompt.service.problems import BY_CLASS
from tests.serviced import make_service

SOURCE = b'\xef\xbb\xbf: hello\n\nid: 3\nevent: token\ndata: {"text":\r\ndata: "a\xe2\x80\xa8b\x0c"}\r\n\r\ndata:x\r\rid: 4\n\n'  # noqa: E501
EVENTS = [("token", '{"text":\n"a\u2028b\x0c"}', "3"), ("message", "x", "3")]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "answer": ("localize", "x"),
    "translate": ("x", "java"),
    "stream": ("summarize", "x"),
    "batch": ([{"task": "summarize", "code": "x"}],),
    "activate": ("name", "abc"),
    "upload": (b"{}",),
    "submit_job": ("summarize", "upload:1"),
    **dict.fromkeys(("summarize", "defects", "localize"), ("x",)),
    **dict.fromkeys(("pack", "retire", "rollback"), ("name",)),
    **dict.fromkeys(("job", "cancel_job", "resume_job", "follow"), ("12",)),
}


# What it stands on


def test_importing_the_client_brings_no_model_no_server_and_no_http() -> None:
    """An editor's process begins at once; libraries come when something is asked."""
    heavy = "torch transformers fastapi pydantic httpx asyncio psutil filelock sqlalchemy"
    code = (
        f"import sys, codeprompt.client; print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def described(name: str, pack: Path) -> Call[Any] | Flow[Any]:
    """A call with arguments that fit."""
    arguments = (pack,) if name == "upload_pack" else ARGUMENTS.get(name, ())
    return getattr(Calls, name)(*arguments)  # type: ignore[no-any-return]


def test_every_call_is_a_route_of_the_service_and_the_other_way_round(tmp_path: Path) -> None:
    """Both sides name the same methods and paths."""
    for name in ("card.json", "prompt.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    service = make_service(tmp_path / "home")
    document = make_app(service).openapi()
    service.store.close()
    routes = {(m.upper(), p) for p, ms in document["paths"].items() for m in ms}
    called = set()
    for name in [n for n in vars(Calls) if not n.startswith("_")]:
        found = described(name, tmp_path)
        call = found.call if isinstance(found, Flow) else found
        path = call.path.replace("/name", "/{name}").replace("/12", "/{id}")
        called.add((call.method, path))
    assert called == routes


@pytest.mark.parametrize(
    "pair",
    [
        (ours.Health, wire.Health),
        (ours.Failure, wire.Failure),
        (ours.PackInfo, wire.PackDetail),
        (ours.Version, wire.PackVersion),
        (ours.Upload, wire.UploadInfo),
        (ours.Job, wire.JobInfo),
    ],
)
def test_a_message_has_the_fields_that_the_service_sends(pair: tuple[Any, Any]) -> None:
    """No more, no fewer."""
    mine, theirs = pair
    assert set(mine.__struct_fields__) == set(theirs.model_fields)


def test_an_item_has_the_fields_that_the_service_sends() -> None:
    """And its place in a stream."""
    assert set(ours.Item.__struct_fields__) == {*wire.Item.model_fields, "index"}


def test_a_message_of_a_newer_service_is_understood() -> None:
    """Fields that are not known are passed over."""
    data = b'{"status":"ok","version":"9.9","pid":3,"api":1,"mood":"fine"}'
    assert health().read(data) == ours.Health(status="ok", version="9.9", pid=3)


def test_an_answer_that_is_no_json_is_told() -> None:
    """It may be another program's."""
    with pytest.raises(EngineError, match="answer cannot be read"):
        health().read(b"<html>")


def test_both_clients_have_every_call_with_the_same_words() -> None:
    """Their methods are made of one description."""
    for name in [n for n in vars(Calls) if not n.startswith("_")]:
        assert getattr(Client, name) is getattr(AsyncClient, name)
        assert inspect.getdoc(getattr(Client, name))


# Addresses


def test_the_state_folder_moves_with_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket and all; nothing of it is in the user's own folders."""
    monkeypatch.setenv("CODEPROMPT_HOME", "/tmp/elsewhere")
    home = Home.own()
    for path in (home.folder, home.socket, home.lock, home.log, home.record_file):
        assert path.is_relative_to("/tmp/elsewhere")


def test_a_path_too_long_for_a_socket_gets_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the same folder, and another for another."""
    found = []
    for name in ("a", "b", "b"):
        monkeypatch.setenv("CODEPROMPT_HOME", "/tmp/" + name * LONGEST)
        found.append(Home.own().socket)
        assert len(os.fsencode(found[-1])) <= LONGEST
    assert found[0] != found[1] == found[2]


def test_addresses_are_read_as_users_write_them() -> None:
    """A path, unix:PATH, a URL; no other scheme."""
    assert parse("/run/x.sock") == parse("unix:/run/x.sock") == Address(Path("/run/x.sock"))
    assert parse("http://localhost:80/", "t") == Address(None, "http://localhost:80", "t")
    with pytest.raises(EngineError, match=r"'ftp://x' is no address.*http://HOST:PORT"):
        parse("ftp://x")


def test_a_record_is_for_its_owner_and_shows_no_token(tmp_path: Path) -> None:
    """Mode 0600 from its birth; a token is in no printed address."""
    home = Home(tmp_path)
    record = Record(1, 2.0, "v", "h", url="http://localhost:1", token="secret")
    home.write(record)
    assert stat.S_IMODE(home.record_file.stat().st_mode) == 0o600
    assert home.record() == record
    assert "secret" not in repr(record.address) + str(record.address)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"pid": "x"}'])
def test_a_record_that_was_cut_is_none(tmp_path: Path, text: bytes) -> None:
    """It is nobody's word."""
    Home(tmp_path).record_file.write_bytes(text)
    assert Home(tmp_path).record() is None and not Home(tmp_path).alive()


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
def test_a_socket_in_a_folder_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """They could put their own in its place."""
    folder = tmp_path / "open"
    folder.mkdir()
    check_owner(folder / "engine.sock")
    folder.chmod(0o777)
    with pytest.raises(EngineError, match="can be changed by one"):
        check_owner(folder / "engine.sock")
    with pytest.raises(EngineError, match="can be changed by one"):
        connect(address=folder / "engine.sock")


def test_a_process_that_merely_has_the_same_number_is_not_the_engine() -> None:
    """It began at another moment."""
    import psutil

    own = psutil.Process().create_time()
    assert is_alive(Record(os.getpid(), own, "v", "h"))
    assert not is_alive(Record(os.getpid(), own - 100, "v", "h"))


def test_the_log_is_bounded_and_its_end_is_shown(tmp_path: Path) -> None:
    """One older log is kept."""
    log = tmp_path / "engine.log"
    log.write_bytes(b"old\n" * (LOG_BYTES // 4) + b"new\n\nlast\n")
    assert last_lines(log, LOG_BYTES) == ["new", "last"]
    rotate(log)
    assert not log.exists() and log.with_name("engine.log.1").stat().st_size > LOG_BYTES
    assert last_lines(log) == []


def test_no_engine_is_told_with_the_command_that_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is started, nor written."""
    monkeypatch.setenv("CODEPROMPT_HOME", str(tmp_path / "home"))
    with pytest.raises(UnreachableError, match="codeprompt engine start"):
        connect(start=False)
    with pytest.raises(UnreachableError, match="No engine answers at"):
        connect(address=tmp_path / "no.sock")
    assert not (tmp_path / "home").exists()


# Events


@given(st.lists(st.integers(0, len(SOURCE)), max_size=8))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    """In the middle of a character or of CRLF; U+2028 and form feeds end no line."""
    parser, places = Parser(), [0, *sorted(cuts), len(SOURCE)]
    pieces = [SOURCE[a:b] for a, b in itertools.pairwise(places)]
    found = [(e.event, e.data, e.id) for piece in pieces for e in parser.feed(piece)]
    assert found == EVENTS and parser.last_id == "4"


def test_a_stream_that_broke_is_asked_for_after_its_last_event() -> None:
    """And one that cannot be is given up at once."""
    feed = Feed(follow("12"), "here")
    assert "last-event-id" not in feed.call().headers
    assert [e.id for e in feed.read(b"id: 7\nevent: progress\ndata: {}\n\nid: 8\nevent: x")] == [7]
    assert feed.pause(httpx.ReadError("cut")) > 0
    assert feed.call().headers["last-event-id"] == "7"
    assert [e.kind for e in feed.read(b"id: 8\nevent: done\ndata: {}\n\n")] == ["done"]
    assert feed.done
    with pytest.raises(UnreachableError, match="ended a stream before its last event"):
        Feed(stream("summarize", "x"), "here").pause(None)


def test_a_stream_that_brings_nothing_any_more_is_given_up() -> None:
    """After some connections in a row."""
    feed = Feed(follow("12", after=3), "here")
    assert feed.call().headers["last-event-id"] == "3"
    pauses = [feed.pause(httpx.ReadError("cut")) for _ in range(BREAKS)]
    assert pauses == sorted(pauses)
    with pytest.raises(UnreachableError, match="went away"):
        feed.pause(httpx.ReadError("cut"))


# Errors


def response(status: int, code: str, message: str = "What. Do.", **headers: str) -> httpx.Response:
    """An error as the service tells it."""
    error = {"code": code, "message": message, "request_id": "r1"}
    return httpx.Response(status, json={"error": error}, headers=headers)


def test_every_error_of_the_service_becomes_the_class_it_was() -> None:
    """With its message, word for word, and the request's number as a note."""
    for kind, status, code in BY_CLASS:
        found = from_response(response(status, code))
        assert isinstance(found, kind.__mro__[1] if "Unknown" in kind.__name__ else kind)
        assert str(found) == "What. Do." and found.__notes__ == ["Request r1"]
    assert isinstance(from_response(response(404, "unknown_pack")), PackError)


def test_a_full_queue_says_for_how_long() -> None:
    """As the engine's own error does."""
    headers = {"retry-after": "7"}
    found = from_response(response(429, "queue_full", **headers))
    assert isinstance(found, QueueFullError) and found.retry_after == 7.0


def test_an_error_that_nobody_explains_has_a_message() -> None:
    """A proxy's page, for one."""
    found = from_response(httpx.Response(502, text="<html>"))
    assert isinstance(found, EngineError) and "status 502" in str(found)


def test_halves_of_characters_do_not_stop_a_request() -> None:
    """Editors hold such texts."""
    assert msgspec.json.decode(encode({"code": "a\ud800b", "x": ["\udc00"]})) == {
        "code": "a\ufffdb",
        "x": ["\ufffd"],
    }


# When to try again


def test_an_absent_engine_is_started_and_asked_again() -> None:
    """Where the client may; otherwise it is told."""
    steps = exchange(submit_job("summarize", "x"), "here", revivable=True)
    assert isinstance(next(steps), Send)
    assert steps.throw(httpx.ConnectError("no")) == Revive(leaving=False)
    assert isinstance(next(steps), Send)
    with pytest.raises(StopIteration) as end:
        steps.send(httpx.Response(202))
    assert end.value.value.status_code == 202
    steps = exchange(summarize("x"), "here", revivable=False)
    next(steps)
    with pytest.raises(UnreachableError, match="engine start"):
        steps.throw(httpx.ConnectError("no"))


def test_a_leaving_engine_is_waited_for_and_another_asked() -> None:
    """It took nothing of the request."""
    steps = exchange(submit_job("summarize", "x"), "here", revivable=True)
    next(steps)
    assert steps.send(response(503, "draining")) == Revive(leaving=True)
    steps = exchange(summarize("x"), "here", revivable=False)
    next(steps)
    with pytest.raises(DrainingError):
        steps.send(response(503, "draining"))


def test_what_may_have_been_done_is_not_done_twice() -> None:
    """A question is asked again where the connection broke; a job is not submitted again."""
    steps = exchange(summarize("x"), "here", revivable=True)
    next(steps)
    assert isinstance(steps.throw(httpx.RemoteProtocolError("closed")), Send)
    steps = exchange(submit_job("summarize", "x"), "here", revivable=True)
    next(steps)
    with pytest.raises(UnreachableError, match="went away"):
        steps.throw(httpx.RemoteProtocolError("closed"))


def test_an_engine_that_keeps_leaving_is_given_up() -> None:
    """Rather than started for ever."""
    steps = exchange(summarize("x"), "here", revivable=True)
    step = next(steps)
    with pytest.raises(DrainingError):
        for _ in range(10):
            step = steps.send(response(503, "draining") if isinstance(step, Send) else None)
