"""What the service refuses: strangers, foreign pages, bodies too large, deep or doubled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from codeprompt.service.limits import MAX_DEPTH, check_json
from codeprompt.service.problems import Problem
from tests.serviced import CODE, Place, client, over_socket, pack, serving, small_pack

pytestmark = pytest.mark.anyio
TOKEN = "right-token"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the module's service and its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A service that asks for a token and takes small bodies."""
    async with serving(
        tmp_path_factory.mktemp("home"),
        small_pack(),
        token=TOKEN,
        headers={"Authorization": f"Bearer {TOKEN}"},
        max_body=20_000,
        max_upload=40_000,
    ) as found:
        yield found


def code_of(response: httpx.Response) -> str:
    """The error's code."""
    code: str = response.json()["error"]["code"]
    return code


@pytest.mark.parametrize(
    "given", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
async def test_without_the_token_only_health_answers(place: Place, given: str) -> None:
    """Every other route says 401, unknown ones too, and the document as well."""
    async with client(place.app) as http:
        headers = {"Authorization": given.encode("latin-1")} if given else {}
        for path in ("/readyz", "/metrics", "/v1/packs", "/v1/status", "/openapi.json", "/none"):
            response = await http.get(path, headers=headers)
            assert response.status_code == 401 and code_of(response) == "token"
        response = await http.post("/v1/shutdown", headers=headers)
        assert response.status_code == 401
        assert (await http.get("/healthz", headers=headers)).status_code == 200
    assert (await place.http.get("/v1/packs")).status_code == 200


async def test_the_socket_needs_no_token(place: Place) -> None:
    """Its mode is what guards it."""
    async with client(over_socket(place.app)) as http:
        assert (await http.get("/v1/packs")).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST:1", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("", 403),
    ],
)
async def test_only_our_hosts_answer(place: Place, host: str, status: int) -> None:
    """A name that DNS was made to tell for our address is refused, token or not."""
    response = await place.http.get("/v1/packs", headers={"Host": host})
    assert response.status_code == status
    assert (await place.http.get("/healthz", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "x"])
async def test_foreign_pages_are_refused_and_no_cors_header_is_sent(
    place: Place, origin: str
) -> None:
    """Neither a request nor a preflight from a page gets anywhere."""
    for method in ("GET", "OPTIONS"):
        response = await place.http.request(
            method,
            "/v1/packs",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
        assert response.status_code == 403 and code_of(response) == "origin"
        assert not [name for name in response.headers if name.startswith("access-control")]
    same = await place.http.get("/v1/packs", headers={"Origin": "http://localhost"})
    assert same.status_code == 200
    assert not [name for name in same.headers if name.startswith("access-control")]


async def test_bodies_are_limited_by_what_comes(place: Place) -> None:
    """By the header where it tells, by counting where it does not or lies."""
    long = json.dumps({"code": "x" * 30_000, "language": "python"}).encode()
    told = await place.http.post("/v1/summarize", content=long, headers=JSON)
    assert told.status_code == 413 and code_of(told) == "too_large"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(long), 1000):
            yield long[start : start + 1000]

    counted = await place.http.post("/v1/summarize", content=chunks(), headers=JSON)
    assert counted.status_code == 413 and code_of(counted) == "too_large"
    lied = await place.http.post(
        "/v1/summarize", content=chunks(), headers={**JSON, "content-length": "10"}
    )
    assert lied.status_code == 413
    huge = await place.http.post(
        "/v1/summarize", content=b"", headers={**JSON, "content-length": "9" * 40}
    )
    assert huge.status_code == 413


async def test_nothing_is_read_past_the_limit(place: Place) -> None:
    """A body without end is cut off where the limit is."""
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        while True:
            seen += 1000
            yield b" " * 1000

    response = await place.http.post("/v1/summarize", content=endless(), headers=JSON)
    assert response.status_code == 413
    assert seen <= 21_000


async def test_uploads_are_limited_in_bytes_and_parts(place: Place) -> None:
    """A form that is too long, has too many parts or is none."""
    large = {"card": ("c", b"{}"), "prompt": ("p", b"x" * 50_000)}
    response = await place.http.post("/v1/packs", files=large)
    assert response.status_code == 413 and code_of(response) == "too_large"
    many = [("card", ("c", b"{}"))] * 5
    response = await place.http.post("/v1/packs", files=many)
    assert response.status_code == 400
    fields = {f"name{i}": "x" for i in range(5)}
    response = await place.http.post("/v1/packs", files={"card": ("c", b"{}")}, data=fields)
    assert response.status_code == 400
    response = await place.http.post(
        "/v1/packs", content=b"no form", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code in (400, 422)


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "a" * 101, "a\n"])
async def test_names_are_names(place: Place, name: str) -> None:
    """No name leads out of the folder of packs."""
    from tests.serviced import parts

    card, tensors = parts(pack(called="named"))
    files = {"card": ("c", card), "prompt": ("p", tensors)}
    response = await place.http.post("/v1/packs", files=files, data={"name": name})
    assert response.status_code in (400, 422) or (not name and response.status_code == 201)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deeply"),
        (b'{"code": "a", "code": "b"}', "key twice"),
        (b'{"a": [{"b": 1, "b": 2}]}', "key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1', "no JSON"),
        (b'{"a": "\\ud800"}', "no JSON"),
        ('{"a": 1}'.encode("utf-16"), "no JSON"),
        (b"\xff\xfe\xfa", "no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"),
    ],
)
async def test_odd_json_is_refused(place: Place, body: bytes, match: str) -> None:
    """Depth, doubled keys, what JSON does not know: told before anything is made of it."""
    with pytest.raises(Problem, match=match):
        check_json(body)
    response = await place.http.post("/v1/summarize", content=body[:19_000], headers=JSON)
    assert response.status_code == 400 and code_of(response) == "json"


async def test_plain_json_passes_the_checks() -> None:
    """As deep as may be, brackets in texts, any key once."""
    check_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    check_json(json.dumps({"code": "[" * 1000, "language": "x"}).encode())


async def test_a_body_of_another_type_is_no_question(place: Place) -> None:
    """A page can send a form or a text without asking; neither is read as JSON."""
    body = json.dumps({"code": CODE, "language": "python"}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind} if kind else {}
        response = await place.http.post("/v1/summarize", content=body, headers=headers)
        assert response.status_code == 422


async def test_shutting_down_over_tcp_needs_a_token(tmp_path: Path) -> None:
    """Without one set, only the socket may."""
    ended: list[bool] = []
    async with serving(tmp_path, small_pack()) as found:
        found.service.on_shutdown = lambda: ended.append(True)
        refused = await found.http.post("/v1/shutdown")
        assert refused.status_code == 403 and not found.service.draining
        async with client(over_socket(found.app)) as http:
            assert (await http.post("/v1/shutdown")).json() == {"status": "draining"}
        while not ended:
            await asyncio.sleep(0)
        assert (await found.ask()).status_code == 503


async def test_no_pages_that_load_scripts(place: Place) -> None:
    """The document is there; the pages that would fetch from elsewhere are not."""
    assert (await place.http.get("/openapi.json")).status_code == 200
    assert (await place.http.get("/docs")).status_code == 404
    assert (await place.http.get("/redoc")).status_code == 404
