"""The routes: shapes of answers and errors, event streams, packs, jobs, metrics, logs."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from codeprompt.backbones.checkpoint import newest_builtin
from codeprompt.client import messages
from codeprompt.client.sse import Parser
from codeprompt.service import logs
from codeprompt.service.wire import Failure, Health, Item, JobInfo, PackDetail, PackInfo, UploadInfo
from tests.serviced import CODE, Place, client, over_socket, pack, serving, small_pack

pytestmark = pytest.mark.anyio
ROWS = "".join(
    json.dumps({"code": f"def f{i}(a):\n    return a", "summary": f"return {i}"}) + "\n"
    for i in range(8)
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the module's service and its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A service with two packs."""
    home = tmp_path_factory.mktemp("home")
    async with serving(home, pack(), pack("defect")) as found:
        yield found


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, as it stands in the file."""
    before, root = structlog.get_config(), logs.logging.getLogger()
    handlers = root.handlers[:]
    stream = io.StringIO()
    logs.configure(stream)
    yield stream
    root.handlers[:] = handlers
    structlog.configure(**before)


def failure(response: httpx.Response) -> dict[str, str]:
    """The error of a response, which is all that is in it."""
    found: dict[str, dict[str, str]] = response.json()
    assert list(found) == ["error"]
    assert sorted(found["error"]) == ["code", "message", "request_id"]
    assert found["error"]["request_id"] == response.headers["x-request-id"]
    return found["error"]


async def test_items_are_those_of_predict_with_their_pack(place: Place) -> None:
    """Generating packs give a text, classifying ones a label; names as in the file."""
    response = await place.ask(file="src/a.py")
    written = response.json()["results"]
    assert [one["function"] for one in written] == ["Server.run", "add"]
    assert [(one["start_line"], one["end_line"]) for one in written] == [(3, 5), (7, 8)]
    assert written[0]["file"] == "src/a.py" and "label" not in written[0]
    assert response.json()["request_id"] == response.headers["x-request-id"]
    sorted_ = (await place.ask("defects", function="Server.run")).json()["results"]
    assert [one["label"] in ("clean", "defective") for one in sorted_] == [True]
    assert 0 <= sorted_[0]["score"] <= 1 and "text" not in sorted_[0]


async def test_streams_are_events_that_end_with_done(place: Place) -> None:
    """Tokens, results with their index, done."""
    response = await place.ask(stream=True, code="def unseen(a):\n    return len(a)\n")
    assert response.headers["content-type"].startswith("text/event-stream")
    told = list(Parser().feed(response.content))
    assert {one.event for one in told[:-2]} == {"token"}
    assert [one.event for one in told[-2:]] == ["result", "done"]
    result = json.loads(told[-2].data)
    tokens = "".join(json.loads(one.data)["text"] for one in told[:-2])
    assert result["index"] == 0 and result["text"] == tokens.strip()


async def test_a_stream_that_cannot_begin_has_a_status(place: Place) -> None:
    """An error before the first event is an ordinary one."""
    response = await place.ask(stream=True, pack="absent")
    assert response.status_code == 404 and failure(response)["code"] == "unknown_pack"


@pytest.mark.parametrize(
    ("task", "body", "status", "code"),
    [
        ("summarize", {"language": "klingon"}, 400, "data"),
        ("summarize", {"function": "absent"}, 400, "usage"),
        ("summarize", {"pack": "absent"}, 404, "unknown_pack"),
        ("summarize", {"pack": "summarize@0"}, 404, "unknown_pack"),
        ("summarize", {"pack": "../summarize"}, 422, "invalid"),
        ("summarize", {"pack": "defect"}, 400, "usage"),
        ("localize", {}, 404, "unknown_pack"),
        ("summarize", {"code": 1}, 422, "invalid"),
        ("summarize", {"cod": CODE}, 422, "invalid"),
        ("summarize", {"priority": "soon"}, 422, "invalid"),
        ("summarize", {"deadline_ms": 0}, 422, "invalid"),
        ("summarize", {"file": "\ud800.py"}, 400, "json"),
        ("summarize", {"function": "\U0001f600"}, 400, "usage"),
        ("nothing", {}, 404, "not_found"),
    ],
)
async def test_mistakes_have_one_shape(
    place: Place, task: str, body: dict[str, Any], status: int, code: str
) -> None:
    """A status, a code for programs, one paragraph for people, and the request's id."""
    content = json.dumps({"code": CODE, "language": "python", **body})
    response = await place.http.post(
        f"/v1/{task}", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == status
    found = failure(response)
    assert found["code"] == code
    assert "\n" not in found["message"] and found["message"].endswith((".", "?"))


async def test_methods_are_told(place: Place) -> None:
    """A wrong method is an error of the same shape."""
    response = await place.http.get("/v1/summarize")
    assert response.status_code == 405 and failure(response)["code"] == "method"
    assert response.headers["allow"] == "POST"


async def test_a_batch_mixes_tasks(place: Place) -> None:
    """Results in order; what fails has its error in place."""
    requests = [
        {"task": "summarize", "code": CODE, "language": "python"},
        {"task": "defects", "code": CODE, "language": "python"},
        {"task": "localize", "code": CODE, "language": "python"},
    ]
    found = (await place.http.post("/v1/batch", json={"requests": requests})).json()
    assert [len(one) for one in found["results"]] == [2, 2, 1]
    assert found["results"][2]["error"]["code"] == "unknown_pack"


async def test_request_ids_are_kept_where_sane(place: Place) -> None:
    """A client's id comes back and is logged; one that is not sane is replaced."""
    for given, kept in (("a-1.b_2", True), ("a b", False), ("x" * 65, False), ("", False)):
        response = await place.http.get("/healthz", headers={"X-Request-Id": given})
        assert (response.headers["x-request-id"] == given) is kept


async def test_health_says_who_answers(place: Place) -> None:
    """The client's handshake reads version, process and protocol."""
    found = messages.msgspec.json.decode(
        (await place.http.get("/healthz")).content, type=messages.Health
    )
    assert found.status == "ok" and found.api == messages.API and found.pid > 0
    assert (await place.http.get("/readyz")).json() == {"status": "ready"}


async def test_packs_are_uploaded_activated_and_rolled_back(place: Place) -> None:
    """Versions come and go under one name, which answers with the active one."""
    from codeprompt.backbones.decoding import Decoding

    one = pack(called="v", decoding=Decoding(max_new_tokens=5))
    two = pack(called="v", decoding=Decoding(max_new_tokens=6))
    first, second = one.card.integrity[:12], two.card.integrity[:12]
    response = await place.add(one)
    assert response.status_code == 201 and response.json()["active"] == first
    assert (await place.add(one)).json()["active"] == first
    assert (await place.add(two, activate="false")).json()["active"] == first
    path = "/v1/packs/v"
    changed = await place.http.post(f"{path}/activate", json={"version": second})
    assert changed.json()["active"] == second
    assert (await place.ask(pack="v")).json()["results"][0]["version"] == second
    assert (await place.http.post(f"{path}/rollback")).json()["active"] == first
    assert (await place.ask(pack="v")).json()["results"][0]["version"] == first
    again = await place.http.post(f"{path}/rollback")
    assert again.status_code == 409 and failure(again)["code"] == "conflict"
    retired = await place.http.post(f"{path}/retire", json={})
    assert retired.json()["active"] is None
    assert (await place.ask(pack="v")).status_code == 404
    absent = await place.http.post(f"{path}/activate", json={"version": "0" * 12})
    assert absent.status_code == 404
    assert len((await place.http.get(path)).json()["versions"]) == 2


@pytest.mark.parametrize(
    ("card", "tensors"), [(b"{}", b""), (b"\x80\x04K\x01.", b"\x80\x04K\x01."), (None, b"cut")]
)
async def test_what_is_no_pack_is_refused(place: Place, card: bytes, tensors: bytes) -> None:
    """Pickles, empty cards, cut tensors: told, and nothing is kept."""
    from tests.serviced import parts

    files = {"card": ("c", card or parts(pack(called="bad"))[0]), "prompt": ("p", tensors)}
    response = await place.http.post("/v1/packs", files=files, data={"name": "bad"})
    assert response.status_code == 400 and failure(response)["code"] == "pack"
    assert (await place.http.get("/v1/packs/bad")).status_code == 404


async def test_jobs_are_queued_listed_and_cancelled(place: Place) -> None:
    """A job on uploaded data goes from 202 through its events to its end."""
    data = {"file": ("rows.jsonl", ROWS.encode())}
    upload = (await place.http.post("/v1/uploads", files=data)).json()
    UploadInfo.model_validate(upload)
    body = {
        "task": "summarize", "data": f"upload:{upload['id']}", "name": "tuned",
        "options": {"steps": 1, "shots": 2, "dev": 2, "length": 3, "seed": 1, "language": "python"},
    }  # fmt: skip
    response = await place.http.post("/v1/jobs", json=body)
    assert response.status_code == 202
    job = response.json()
    assert job["detail"]["spec"]["overrides"] == {"steps": 1, "shots": 2, "dev": 2}
    assert job["detail"]["spec"]["options"] == {"length": 3}
    assert job["detail"]["spec"]["seeds"] == [1]
    ended = await place.http.delete(f"/v1/jobs/{job['id']}")
    assert ended.json()["status"] == "cancelled"
    told = list(Parser().feed((await place.http.get(f"/v1/jobs/{job['id']}/events")).content))
    assert told[-1].event == "cancelled"
    assert [int(one.id) for one in told] == sorted({int(one.id) for one in told})
    again = await place.http.delete(f"/v1/jobs/{job['id']}")
    assert again.status_code == 409
    assert [one["id"] for one in (await place.http.get("/v1/jobs")).json()["jobs"]] == [job["id"]]
    assert (await place.http.get("/v1/jobs/0")).status_code == 404
    assert (await place.http.get("/v1/jobs/0/events")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"task": "nothing"},
        {"method": "prefx"},
        {"recipe": "../recipe"},
        {"data": "upload:0"},
        {"options": {"steps": 0}},
        {"options": {"nothing": 1}},
        {"options": {"seed": 1, "seeds": 2}},
        {"options": {"name": "x"}},
    ],
)
async def test_a_job_that_cannot_be_tuned_is_refused(place: Place, change: dict[str, Any]) -> None:
    """Before it is queued, and by the word that is wrong."""
    upload = await place.http.post("/v1/uploads", files={"file": ("r", ROWS.encode())})
    body = {"task": "summarize", "data": f"upload:{upload.json()['id']}", "name": "x", **change}
    response = await place.http.post("/v1/jobs", json=body)
    assert response.status_code in (400, 404)
    assert failure(response)["code"] in ("usage", "unknown_name", "data", "training")


async def test_local_paths_come_over_the_socket_alone(place: Place, tmp_path: Path) -> None:
    """A job over TCP may not name a file of this machine."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(ROWS)
    body = {"task": "summarize", "data": str(rows), "name": "local", "options": {"steps": 1}}
    refused = await place.http.post("/v1/jobs", json=body)
    assert refused.status_code == 400 and "socket" in failure(refused)["message"]
    async with client(over_socket(place.app)) as http:
        taken = await http.post("/v1/jobs", json=body)
        assert taken.status_code == 202
        await http.delete(f"/v1/jobs/{taken.json()['id']}")


async def test_metrics_are_counted_by_template(place: Place) -> None:
    """No label holds what a client chose."""
    await place.ask()
    await place.http.get("/v1/packs/some-name")
    await place.http.get("/some/other/path")
    page = (await place.http.get("/metrics")).text
    assert 'codeprompt_requests_total{route="/v1/packs/{name}",status="404"}' in page
    assert 'codeprompt_requests_total{route="other",status="404"}' in page
    assert 'codeprompt_request_seconds_count{priority="explicit"}' in page
    for name in ("queue_length", "rows_in_flight", "backbones_loaded", "in_flight"):
        assert f"codeprompt_{name} " in page
    assert 'codeprompt_memory_bytes{of="backbones"}' in page
    assert "some" not in page


async def test_status_tells_what_is_loaded(place: Place) -> None:
    """Backbones with their packs, the queue, the cache."""
    await place.ask()
    found = (await place.http.get("/v1/status")).json()
    assert [one["name"] for one in found["backbones"]] == [newest_builtin()]
    assert any(label.startswith("summarize@") for label in found["backbones"][0]["packs"])
    assert found["ready"] is True and found["memory"]["backbones"] > 0


async def test_logs_tell_requests_and_no_source(place: Place, logged: io.StringIO) -> None:
    """One JSON line a request, with its id; nothing that was asked about, whatever happens."""
    secret = "hush_this_name"
    code = f"def {secret}(a):\n    return a\n"
    await place.ask(code=code)
    await place.ask(code=code, function="absent")
    await place.ask(code={"x": secret})
    await place.ask(code=code, stream=True)
    await place.http.post("/v1/summarize", content=code.encode())
    await place.http.get(f"/v1/{secret}")
    await place.http.post("/v1/uploads", files={"file": ("x", code.encode())})
    text = logged.getvalue()
    assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    told = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in told] == [200, 400, 422, 200, 400, 404, 400]
    assert all(line["request_id"] and "ms" in line and "route" in line for line in told)


async def test_an_unexpected_error_is_told_by_its_kind(
    place: Place, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours: 500 in the one shape, its kind and places in the log, no message."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("hush_this_name")

    monkeypatch.setattr(place.service, "_choose", fail)
    response = await place.ask()
    assert response.status_code == 500 and failure(response)["code"] == "internal"
    assert "hush" not in response.text and "hush" not in logged.getvalue()
    told = [json.loads(line) for line in logged.getvalue().splitlines()]
    faults = [line for line in told if line["event"] == "unexpected"]
    assert faults[0]["error"] == "ZeroDivisionError" and "core.py" in " ".join(faults[0]["places"])


async def test_a_fault_in_the_middle_of_a_stream_is_its_last_event(
    place: Place, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told in the one shape, and the log where it was."""
    whole = place.service.stream

    async def broken(*asked: Any, **more: Any) -> AsyncIterator[Any]:
        async for found in whole(*asked, **more):
            yield found
            raise ZeroDivisionError("hush_this_name")

    monkeypatch.setattr(place.service, "stream", broken)
    response = await place.ask(stream=True, code="def faulty(a):\n    return a\n")
    *_, last = Parser().feed(response.content)
    assert last.event == "error" and json.loads(last.data)["code"] == "internal"
    assert "hush" not in response.text and "hush" not in logged.getvalue()
    assert '"unexpected"' in logged.getvalue()


def test_messages_mirror_the_wire() -> None:
    """What the service says is what its client reads."""
    pairs = [
        (Item, messages.Item),
        (Failure, messages.Failure),
        (Health, messages.Health),
        (PackDetail, messages.PackInfo),
        (UploadInfo, messages.Upload),
        (JobInfo, messages.Job),
    ]
    for ours, theirs in pairs:
        assert set(theirs.__struct_fields__) <= set(ours.model_fields), theirs


async def test_answers_fit_the_document(place: Place) -> None:
    """What the routes send validates against the models of the OpenAPI document."""
    for one in (await place.ask()).json()["results"]:
        Item.model_validate(one)
    for one in (await place.http.get("/v1/packs")).json()["packs"]:
        PackInfo.model_validate(one)


async def test_a_labelling_pack_gives_an_item_a_line(tmp_path: Path) -> None:
    """Lines told, each with its place and probability; streams and batches give the same."""
    told = small_pack("localize", method="soft", length=3, threshold=0.0)
    async with serving(tmp_path, told) as place:
        code = "int f(char *p)\n{\n    return p[9];\n}\n"
        asked = {"code": code, "language": "c"}
        found = (await place.ask("localize", **asked)).json()["results"]
        assert sorted(one["start_line"] for one in found) == [1, 2, 3, 4]
        assert all(one["label"] == "defective" and 0 < one["score"] < 1 for one in found)
        assert all(one["start_line"] == one["end_line"] for one in found)
        streamed = (await place.ask("localize", stream=True, **asked)).text
        assert streamed.count("event: result") == 4
