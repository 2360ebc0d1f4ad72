"""The application under Ray Serve: a real cluster of two nodes, and a replica killed under load."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from codeprompt.client import Client, connect
from codeprompt.errors import CodepromptError
from codeprompt.pack import save
from codeprompt.pack.lookup import SHIPPED as FOLDER
from codeprompt.service.settings import Settings
from tests.living import home, serve, wait_until
from tests.serviced import small, small_pack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals"),
    pytest.mark.filterwarnings("ignore"),
]
__all__ = ["home"]
TOKEN = "a-token-for-this-test-alone"
SHIPPED = {card.parent.name for card in FOLDER.glob("*/card.json")} - {"summarize"}
SOURCES = [f"def name_{i}(a, b):\n    return a * {i} + b\n" for i in range(24)]


@dataclass(frozen=True)
class Place:
    """A deployment on two nodes."""

    url: str
    packs: Path

    def client(self) -> Client:
        """With the token; it starts nothing."""
        return connect(start=False, address=self.url, token=TOKEN)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two nodes with a replica on each, and packs in a folder that both read."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = pytest.importorskip("ray")
    ray_serve: Any = pytest.importorskip("ray.serve")
    from ray.cluster_utils import Cluster

    from codeprompt.service.ray_app import Scale, _begin, deployment
    from codeprompt.service.replica import Plan

    packs = tmp_path_factory.mktemp("packs")
    save(small_pack(), packs / "summarize")
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        ray.init(address=cluster.address, namespace="codeprompt", log_to_driver=False)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = Settings(
            home=packs, backbone=small()[1], threads=1, token=TOKEN, precision="float32"
        )
        ray_serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        _begin(ray_serve, deployment(Plan(settings, packs.as_uri(), look_seconds=0.5), Scale(2)))
        yield Place(f"http://127.0.0.1:{port}", packs)
        ray_serve.shutdown()
    finally:
        ray.shutdown()
        cluster.shutdown()


def replicas() -> dict[int, int]:
    """Processes of replicas that live, each with the process of its node."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::ServeReplica" in " ".join(process.cmdline()):
                found[process.pid] = process.ppid()
    return found


def single(home: Any, packs: Path) -> list[str | None]:
    """What one process alone answers."""
    from codeprompt.client import start

    start(["--backbone", small()[1], "--precision", "float32", "--threads", "1"], home=home)
    with connect(start=False) as engine:
        engine.upload_pack(packs / "summarize")
        return [engine.summarize(code, "python")[0].text for code in SOURCES]


def ask(client: Client, code: str, lost: Counter[str], seconds: float = 120.0) -> str | None:
    """The answer, asked for again until it comes."""
    end = time.monotonic() + seconds
    while True:
        try:
            return client.summarize(code, "python")[0].text
        except CodepromptError as error:
            lost[type(error).__name__] += 1
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_the_replicas_are_on_both_nodes_and_ask_for_the_token(place: Place) -> None:
    """As any port does; `/healthz` needs none."""
    assert len(set(replicas().values())) == 2
    assert httpx.get(place.url + "/healthz").status_code == 200
    assert httpx.get(place.url + "/v1/packs").status_code == 401
    with place.client() as client:
        # Beside those of the package: all are known, and one of the storage hides its name's.
        assert {"summarize"} | SHIPPED == {pack.name for pack in client.packs()}
        assert client.ready()


def test_what_only_one_replica_would_know_is_refused(place: Place) -> None:
    """Plainly, and never as a fault of the server."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=place.url, headers=headers, timeout=60) as http:
        job = {"task": "summarize", "data": "upload:0", "name": "new"}
        found = [
            http.post("/v1/jobs", json=job),
            http.post("/v1/uploads", files={"file": ("data.jsonl", b"{}")}),
            http.post("/v1/packs/summarize/rollback"),
            http.delete("/v1/cache"),
            http.post("/v1/shutdown"),
        ]
    for response in found:
        assert response.status_code == 409, response.text
        assert response.json()["error"]["code"] == "replicated"


def test_a_replica_killed_under_load_loses_no_request_and_no_word(place: Place, home: Any) -> None:
    """Whoever asks again is answered, and all answers are those of a single process."""
    expected = single(home, place.packs)
    first = replicas()
    answers: dict[tuple[int, int], str | None] = {}
    lost: Counter[str] = Counter()
    failures: list[BaseException] = []
    begun = threading.Event()

    def work(number: int) -> None:
        try:
            with place.client() as client:
                for i in range(len(SOURCES)):
                    answers[number, i] = ask(client, SOURCES[i], lost)
                    begun.set()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(120)
    psutil.Process(min(first)).kill()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(answers) == 4 * len(SOURCES)
    assert {i: text for (_, i), text in answers.items()} == dict(enumerate(expected))
    assert all(text == expected[i] for (_, i), text in answers.items())
    wait_until(lambda: len(replicas()) == 2, "no replica took its place", 120)
    assert min(first) not in replicas()
    print(f"asked again: {dict(lost)}")


def test_a_pack_put_into_the_storage_answers_and_one_taken_out_does_not(place: Place) -> None:
    """On every replica, soon after."""
    save(small_pack(called="second"), place.packs / "second")

    def names() -> set[str]:
        with place.client() as client:
            return {p.name for p in client.packs() if p.active} - SHIPPED

    def settled(wanted: set[str]) -> bool:
        return all(names() == wanted for _ in range(8))

    wait_until(lambda: settled({"summarize", "second"}), "it did not arrive")
    with place.client() as client:
        assert client.summarize(SOURCES[0], "python", pack="second")[0].pack == "second"
    for file in (place.packs / "second").iterdir():
        file.unlink()
    (place.packs / "second").rmdir()
    wait_until(lambda: settled({"summarize"}), "it did not go")


def test_the_command_begins_a_cluster_of_its_own_and_ends_it(home: Any, tmp_path: Path) -> None:
    """`codeprompt serve --ray`, told to end by a signal; the token is said once."""
    pytest.importorskip("ray.serve")
    before = set(replicas())
    save(small_pack(), tmp_path / "packs" / "summarize")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--ray", "--port", port, "--packs-from", tmp_path / "packs", "--threads", "1"]
    process = serve(*options, "--backbone", small()[1])
    try:
        assert process.stderr is not None
        said = ""
        while "Token for" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        token = said.rpartition(": ")[2].strip()
        with connect(start=False, address=f"http://127.0.0.1:{port}", token=token) as client:
            assert client.summarize(SOURCES[0], "python")[0].pack == "summarize"
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate()
    assert set(replicas()) <= before
