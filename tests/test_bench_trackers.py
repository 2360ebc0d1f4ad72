"""Trackers: told once of every result, through the public interface of each library."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from codeprompt.bench.plan import Plan
from codeprompt.bench.registries import TRACKERS
from codeprompt.bench.results import CellResult, Tables
from codeprompt.bench.run import Runner
from codeprompt.bench.trackers.base import curve_of, settings_of, values_of
from codeprompt.errors import UsageError
from tests.benching import Bench, make_bench

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


def plan_of(bench: Bench, folder: Path) -> Plan:
    return bench.plan(folder, arms=("constant", "soft"), data=("functions",))


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.cells: list[CellResult] = []
        self.ended: list[Tables] = []

    def cell(self, result: CellResult) -> None:
        self.cells.append(result)

    def tables(self, tables: Tables) -> None:
        self.ended.append(tables)

    def close(self) -> None:
        pass


def test_a_tracker_is_told_once_of_what_came_while_it_watched(bench: Bench, tmp_path: Path) -> None:
    """Not of results that were there before."""
    plan, recorder = plan_of(bench, tmp_path), Recorder()
    Runner(plan, bench.root, jobs=0, trackers=(recorder,)).run()
    assert sorted(one.hash for one in recorder.cells) == sorted(c.hash for c in plan.cells)
    assert len(recorder.ended) == 1
    again = Recorder()
    Runner(plan, bench.root, jobs=0, trackers=(again,)).run()
    assert again.cells == [] and len(again.ended) == 1
    soft = next(one for one in recorder.cells if one.config.arm == "soft")
    assert settings_of(soft)["arm"] == "soft" and settings_of(soft)["seed"] in (0, 1)
    assert "test/chrf" in values_of(soft)
    assert [step for step, _ in curve_of(soft)] == [2, 4]


@pytest.mark.parametrize("name", TRACKERS.names())
def test_a_library_that_is_not_installed_is_named(
    name: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    import sys

    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    plan = plan_of(bench, tmp_path)
    with pytest.raises(UsageError, match=r"is not installed.*pip install"):
        TRACKERS.get(name).open(str(tmp_path / "to"), plan.suite)


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_curves_and_final_numbers(bench: Bench, tmp_path: Path) -> None:
    """Read back by TensorBoard's own reader."""
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = plan_of(bench, tmp_path)
    tracker = TRACKERS.get("tensorboard").open(str(tmp_path / "board"), plan.suite)
    Runner(plan, bench.root, jobs=0, trackers=(tracker,)).run()
    tracker.close()
    folders = sorted(p for p in (tmp_path / "board" / plan.suite.name).iterdir() if p.is_dir())
    assert len(folders) == len(plan.cells)
    soft = next(p for p in folders if "-soft-" in p.name)
    found = EventAccumulator(str(soft)).Reload()
    assert [event.step for event in found.Scalars("train/dev")] == [2, 4]
    assert found.Scalars("final/test/chrf")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_gets_a_run_a_cell(bench: Bench, tmp_path: Path) -> None:
    """Read back by its client."""
    needs("mlflow")
    from mlflow import MlflowClient

    plan, where = plan_of(bench, tmp_path), f"sqlite:///{tmp_path}/runs.db"
    tracker = TRACKERS.get("mlflow").open(where, plan.suite)
    Runner(plan, bench.root, jobs=0, trackers=(tracker,)).run()
    client = MlflowClient(tracking_uri=where)
    experiment = client.get_experiment_by_name(plan.suite.name)
    runs: list[Any] = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(plan.cells)
    assert {run.data.params["arm"] for run in runs} == {"constant", "soft"}
    assert all("test/chrf" in run.data.metrics for run in runs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_gets_a_run_a_cell(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: its files lie beside."""
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    plan = plan_of(bench, tmp_path)
    tracker = TRACKERS.get("wandb").open("bench", plan.suite)
    Runner(plan, bench.root, jobs=0, trackers=(tracker,)).run()
    runs = [p for p in (tmp_path / "wandb").iterdir() if p.name.startswith("offline-run")]
    assert len(runs) == len(plan.cells)
