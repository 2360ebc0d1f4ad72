"""Worker processes and clusters: the same results as in one process, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from codeprompt.bench.plan import Plan
from codeprompt.bench.results import CellResult
from codeprompt.bench.run import Runner
from codeprompt.bench.store import RunFolder
from tests.benching import Bench, make_bench
from tests.living import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals"),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def finished(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The whole suite in this process: what all others must equal."""
    plan = bench.plan(tmp_path_factory.mktemp("finished"), select="first-seed")
    Runner(plan, bench.root, jobs=0).run()
    return plan


def numbers(folder: RunFolder) -> dict[str, Any]:
    """All but times and places, by cell."""
    return {
        one.hash: (
            one.status,
            one.chosen,
            [(t.rate, t.dev, t.dev_log_prob, t.history) for t in one.trials],
            [(e.fingerprint, e.scores, e.without_overlap, e.distinct) for e in one.evaluations],
            one.drawn,
            folder.items(one),
        )
        for one in folder.results()
    }


def start(bench: Bench, folder: Path, *words: object) -> subprocess.Popen[bytes]:
    """The command, in a process of its own."""
    suite = folder / "tiny.toml"
    if not suite.exists():
        suite.write_text(bench.suite_text(select="first-seed"), encoding="utf-8")
    line = ("bench", suite, "--data", bench.root, "--out", folder / "run", "--no-estimate", *words)
    return subprocess.Popen(
        [sys.executable, "-m", "codeprompt", *map(str, line), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """As in a terminal: a shell starts what it puts into the background deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found


def test_two_processes_give_the_numbers_of_one(
    bench: Bench, finished: Plan, tmp_path: Path
) -> None:
    """Each cell once, by whichever process came first."""
    found = ended(start(bench, tmp_path, "--jobs", 2))
    assert (found["failed"], found["missing"]) == (0, 0)
    folder = RunFolder(tmp_path / "run")
    assert numbers(folder) == numbers(finished.folder)
    assert not list((folder.path / "partial").iterdir())


def test_two_commands_share_a_folder(bench: Bench, finished: Plan, tmp_path: Path) -> None:
    """Neither runs what the other holds; both end with all there is."""
    both = [start(bench, tmp_path, "--jobs", 1) for _ in range(2)]
    found = [ended(process) for process in both]
    assert [one["missing"] for one in found] == [0, 0]
    assert numbers(RunFolder(tmp_path / "run")) == numbers(finished.folder)


def test_killed_at_any_moment_the_same_command_goes_on(
    bench: Bench, finished: Plan, tmp_path: Path
) -> None:
    """`kill -9` of the command: its workers end by themselves, nothing is half written."""
    folder = RunFolder(tmp_path / "run")
    for cells in (2, 7):
        process = start(bench, tmp_path, "--jobs", 1)
        wait_until(lambda: _count(folder) >= cells, "no cell ended", 120)  # noqa: B023
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        psutil.wait_procs(workers, timeout=60)
        assert not any(worker.is_running() for worker in workers)
        for path in (folder.path / "results").glob("*.json"):
            json.loads(path.read_bytes())
    assert ended(start(bench, tmp_path, "--jobs", 1))["missing"] == 0
    assert numbers(folder) == numbers(finished.folder)


def test_a_killed_worker_is_replaced(bench: Bench, finished: Plan, tmp_path: Path) -> None:
    """The cell it held is run again; the numbers are the same."""
    folder = RunFolder(tmp_path / "run")
    process = start(bench, tmp_path, "--jobs", 1)
    wait_until(lambda: _count(folder) >= 2, "no cell ended", 120)
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    assert ended(process)["failed"] == 0
    assert numbers(folder) == numbers(finished.folder)


def test_an_interrupt_ends_the_workers_and_says_how_to_go_on(bench: Bench, tmp_path: Path) -> None:
    """Status 130, as for any interrupted command."""
    folder = RunFolder(tmp_path / "run")
    process = start(bench, tmp_path, "--jobs", 2)
    wait_until(lambda: _count(folder) >= 1, "no cell ended", 120)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"The same command goes on from there" in err
    assert not any(worker.is_running() for worker in workers)


def test_a_process_for_each_cell_has_a_peak_memory_of_its_own(bench: Bench, tmp_path: Path) -> None:
    """And latency and bytes on disk, where the suite asks for them."""
    text = bench.suite_text(arms=("hard", "soft"), data=("functions",))
    text = text.replace("bootstrap = 20", "bootstrap = 0\nisolate = true\nlatency = true")
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    ended(start(bench, tmp_path, "--jobs", 1))
    folder = RunFolder(tmp_path / "run")
    results: list[CellResult] = list(folder.results())
    assert len(results) == 3
    for one in results:
        assert one.cost.latency_ms and one.cost.peak_memory_mb and one.cost.storage_bytes


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_nodes_gives_the_numbers_of_one_process(
    bench: Bench, finished: Plan, tmp_path: Path
) -> None:
    """Ray tasks on both nodes; a node that dies costs time and no cell."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False)
        plan = bench.plan(tmp_path, select="first-seed")
        killed: list[float] = []

        def look() -> None:
            if not killed and _count(plan.folder) >= 4:
                cluster.remove_node(second, allow_graceful=False)
                killed.append(time.monotonic())

        tables = Runner(plan, bench.root, ray="auto").run(look)
        assert (tables.failed, tables.missing) == (0, 0) and killed
        assert numbers(plan.folder) == numbers(finished.folder)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _count(folder: RunFolder) -> int:
    return len(list((folder.path / "results").glob("*.json")))
