"""One of several services: packs from shared storage, and nothing that the others would lack."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import httpx
import pytest
from click.testing import CliRunner

from codeprompt.cli.app import APP
from codeprompt.client import Home
from codeprompt.errors import CodepromptError, UsageError
from codeprompt.pack import save
from codeprompt.service import Settings, make_app
from codeprompt.service import replica as replicas
from codeprompt.service.packs import Packs
from codeprompt.service.ray_app import Scale, run_ray, scale
from codeprompt.service.replica import Plan, Replica
from codeprompt.service.shared import Shared
from codeprompt.service.state import Store
from tests.serviced import CODE, client, parts, small, small_pack


@pytest.fixture
def packs(tmp_path: Path) -> Iterator[Packs]:
    """An empty state."""
    store = Store.open(tmp_path / "state")
    yield Packs(store)
    store.close()


def put(url: str, called: str, **options: str) -> None:
    """Write a pack into a storage, as somebody who owns it would."""
    card, tensors = parts(small_pack(called=called))
    for name, data in {"card.json": card, "prompt.safetensors": tensors}.items():
        with fsspec.open(f"{url}/{called}/{name}", "wb") as file:
            file.write(data)


def active(packs: Packs) -> dict[str, str | None]:
    """Which version answers for each name."""
    return {pack.name: pack.active for pack in packs.list()}


def test_packs_come_from_any_storage_and_go_with_it(packs: Packs) -> None:
    """What is new is brought once; what is gone is retired; what returns, returns."""
    url = f"memory://{uuid.uuid4().hex}"
    put(url, "one")
    put(url, "two")
    shared = Shared(url)
    brought = shared.sync(packs)
    assert [name for name, _ in brought] == ["one", "two"]
    assert active(packs) == dict(brought)
    assert shared.sync(packs) == []
    shared.files.rm(f"{shared.root}/two", recursive=True)
    assert shared.sync(packs) == [("two", None)] and active(packs)["two"] is None
    put(url, "two")
    assert shared.sync(packs) == [brought[1]] and active(packs) == dict(brought)


def test_a_pack_that_is_none_is_passed_over_and_the_old_one_answers_on(
    packs: Packs, tmp_path: Path
) -> None:
    """Half written, of another's tensors, no card, a link out: the others are not disturbed."""
    place = tmp_path / "packs"
    save(small_pack(called="good"), place / "good")
    save(small_pack(called="torn"), place / "torn")
    shared = Shared(str(place))
    before = dict(shared.sync(packs))
    (place / "torn" / "prompt.safetensors").write_bytes(b"\0" * 64)
    card = (place / "torn" / "card.json").read_text()
    (place / "torn" / "card.json").write_text(card.replace('"integrity":"', '"integrity":"f00'))
    (place / "empty").mkdir()
    (place / "odd name!").mkdir()
    (place / "file").write_text("x")
    assert shared.sync(packs) == [] and active(packs) == before


def test_a_storage_that_cannot_be_read_is_told(packs: Packs, tmp_path: Path) -> None:
    """With the reason, and what to do."""
    with pytest.raises(CodepromptError, match="cannot be listed"):
        Shared(str(tmp_path / "absent")).sync(packs)
    with pytest.raises(UsageError, match=r"cannot be read from|not installed"):
        Shared("nosuch://bucket/packs")


def test_a_replica_answers_with_shared_packs_and_refuses_what_only_it_would_know(
    tmp_path: Path,
) -> None:
    """Uploads, jobs, changes of packs, the cache, shutting down: 409, and never 5xx."""
    save(small_pack(), tmp_path / "packs" / "summarize")
    settings = Settings(tmp_path, backbone=small()[1], threads=1, precision="float32")

    async def run() -> None:
        replica = Replica(Plan(settings, str(tmp_path / "packs"), look_seconds=0.05))
        home = replica.settings.home
        app = make_app(replica)
        async with app.router.lifespan_context(app), client(app) as http:
            assert (await http.get("/readyz")).status_code == 200
            body = {"code": CODE, "language": "python"}
            found = (await http.post("/v1/summarize", json=body)).json()["results"]
            assert [item["pack"] for item in found] == ["summarize"] * 2
            refused = [
                await http.post("/v1/uploads", files={"file": ("d.jsonl", b"{}\n{}\n")}),
                await http.post("/v1/jobs", json={"task": "summarize", "data": "upload:0"}),
                await http.delete("/v1/jobs/0"),
                await http.post("/v1/jobs/0/resume"),
                await http.post("/v1/packs/summarize/retire"),
                await http.post("/v1/packs/summarize/rollback"),
                await http.post("/v1/packs/summarize/activate", json={"version": "0"}),
                await http.delete("/v1/cache"),
            ]
            for response in refused:
                assert response.status_code == 409, response.text
                assert response.json()["error"]["code"] == "replicated"
            save(small_pack(called="late"), tmp_path / "packs" / "late")
            async with asyncio.timeout(30):
                while (await http.get("/v1/packs/late")).status_code != 200:
                    await asyncio.sleep(0.05)
        assert not home.exists()

    asyncio.run(run())


def test_a_replica_that_cannot_answer_does_not_begin(tmp_path: Path) -> None:
    """Whoever runs it is told why."""

    async def run() -> None:
        replica = Replica(Plan(Settings(tmp_path, backbone=str(tmp_path / "absent"))))
        try:
            with pytest.raises(CodepromptError, match="cannot answer"):
                await replica.start()
        finally:
            await replica.stop()

    asyncio.run(run())


def test_what_a_killed_replica_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what a living one has."""
    monkeypatch.setattr(replicas.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(replicas, "YOUNG_SECONDS", -1.0)
    dead = tmp_path / (replicas.PREFIX + "dead")
    dead.mkdir()
    first = Replica(Plan(Settings(tmp_path)))
    second = Replica(Plan(Settings(tmp_path)))
    assert not dead.exists() and Home(first.settings.home).alive()
    for replica in (first, second):
        asyncio.run(replica.stop())
    assert list(tmp_path.glob(replicas.PREFIX + "*")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--replicas", "2"], "--replicas is for Ray"),
        (["--packs-from", "x"], "--packs-from is for Ray"),
        (["--ray", "--uds", "x.sock"], "has no --uds"),
        (["--ray", "--replicas", "2", "--max-replicas", "3"], "Leave out --replicas"),
        (["--ray", "--min-replicas", "3", "--max-replicas", "2"], "is less than"),
        (["--ray", "--port", "0"], "--port 0"),
        (["--ray", "--host", "0.0.0.0"], "--allow-remote"),
        (["--ray", "--packs-from", "/nowhere/at/all"], "cannot be listed"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_starts(
    words: list[str], told: str
) -> None:
    """As any mistake is."""
    result = CliRunner().invoke(APP, ["serve", *words])
    assert result.exit_code == 2 and told in result.stderr, result.output


def test_how_many_replicas() -> None:
    """A number, or bounds for the load to decide within."""
    assert scale(None, None, None) == Scale(1) and scale(3, None, None) == Scale(3)
    assert scale(None, 2, None) == Scale(2, 2) and scale(None, None, 4) == Scale(1, 4)
    assert scale(None, 0, 2).options()["autoscaling_config"]["min_replicas"] == 0


def test_without_ray_the_flag_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no traceback."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="codeprompt\\[ray\\]"):
        run_ray(Settings(tmp_path), Scale(1))


def test_nothing_of_ray_is_imported_without_the_flag() -> None:
    """Not by the command line, the application, nor this deployment's own module."""
    code = (
        "import sys, codeprompt.cli.serve, codeprompt.service.app, codeprompt.service.run, "
        "codeprompt.service.ray_app, codeprompt.service.replica; "
        "sys.exit(any(name.partition('.')[0] == 'ray' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_application_still_asks_for_the_token(tmp_path: Path) -> None:
    """A refusal comes after it: strangers learn nothing."""

    async def run() -> httpx.Response:
        replica = Replica(Plan(Settings(tmp_path, token="secret-of-this-test")))
        async with client(make_app(replica)) as http:
            response = await http.delete("/v1/cache")
        await replica.stop()
        return response

    assert asyncio.run(run()).status_code == 401
