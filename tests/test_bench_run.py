"""The runner: one result a cell whatever happens, and the same one each time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeprompt.bench import trials
from codeprompt.bench.cell import Cell
from codeprompt.bench.estimate import estimate_cost
from codeprompt.bench.plan import Plan, begin, make_plan
from codeprompt.bench.queue import Queue
from codeprompt.bench.results import CellResult
from codeprompt.bench.run import Runner, forget_failed
from codeprompt.bench.store import RunFolder
from codeprompt.bench.tables import make_tables
from codeprompt.errors import DataError, TrainingError
from codeprompt.training.seed import run_seed
from tests.benching import Bench, functions, jsonl, make_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def finished(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The whole tiny suite, run once in this process."""
    plan = bench.plan(tmp_path_factory.mktemp("finished"))
    Runner(plan, bench.root, jobs=0).run()
    return plan


def numbers(result: CellResult) -> Any:
    """What must be the same each time: all but times."""
    return [
        (e.name, e.fingerprint, e.scores, e.without_overlap, e.distinct) for e in result.evaluations
    ], [(t.rate, t.dev, t.dev_log_prob, t.steps, t.best_step, t.history) for t in result.trials]


def work(plan: Plan, bench: Bench, cells: list[Cell] | None = None) -> int:
    return Queue(plan.folder, cells or list(plan.asked), bench.root).work(wait=True)


def test_every_cell_has_a_result_with_its_configuration(finished: Plan) -> None:
    """Scores with signatures and intervals, trials, rows drawn, cost, versions."""
    results = list(finished.folder.results())
    assert [one.hash for one in results] == [cell.hash for cell in finished.cells]
    assert [one.config for one in results] == list(finished.cells)
    assert all(one.status == "ok" for one in results), [one.error for one in results]
    soft = next(r for r in results if r.config.arm == "soft" and r.config.task == "summarize")
    assert [t.rate for t in soft.trials] == [0.01, 0.1] and soft.chosen in (0, 1)
    assert soft.rate == soft.trials[soft.chosen].rate
    assert soft.trials[0].history[-1]["step"] == 4 and soft.trials[0].steps == 4
    score = soft.evaluations[0].scores[0]
    assert score.metric == "codexglue-sentence-bleu" and "|bs:20|" in score.signature
    assert score.n == soft.evaluations[0].n == 9 and score.interval is not None
    assert soft.drawn is not None and (soft.drawn.train, soft.drawn.dev) == (6, 5)
    assert soft.cost.parameters == 3 * 32 and soft.cost.step_ms
    assert soft.recipe["precision"] == "float32" and soft.environment["threads"] == 1


def test_predictions_are_kept_beside_rows_that_repositories_leave_out(finished: Plan) -> None:
    """One a row and evaluation, in the order of the rows."""
    result = next(finished.folder.results())
    items = finished.folder.items(result)["test"]
    rows = finished.folder.rows(result.evaluations[0])
    assert [item.id for item in items] == list(rows)
    assert all(row.reference and row.code for row in rows.values())
    assert "rows/" in (finished.folder.path / ".gitignore").read_text(encoding="utf-8")
    bare = RunFolder(finished.folder.path)
    assert bare.rows(replace(result.evaluations[0], rows_key="nowhere")) == {}


def test_arms_of_one_seed_share_their_shots_and_the_test_rows(finished: Plan) -> None:
    """Baselines too: that is what pairs the seeds."""
    drawn: dict[tuple[str, int], set[str]] = {}
    tested: dict[str, set[str]] = {}
    for one in finished.folder.results():
        tested.setdefault(one.config.task, set()).add(one.evaluations[0].fingerprint)
        if one.drawn and one.drawn.train:
            key = one.config.task, one.config.seed
            drawn.setdefault(key, set()).add(one.drawn.train_fingerprint)
    assert all(len(found) == 1 for found in (*drawn.values(), *tested.values()))
    assert len({next(iter(found)) for found in drawn.values()}) == 4


def test_nothing_is_done_twice(finished: Plan, bench: Bench) -> None:
    """A second run finds no cell missing and writes no result."""
    before = {p: p.stat().st_mtime_ns for p in (finished.folder.path / "results").iterdir()}
    assert finished.missing() == [] and work(finished, bench) == 0
    after = {p: p.stat().st_mtime_ns for p in (finished.folder.path / "results").iterdir()}
    assert before == after


def test_a_run_in_parts_gives_the_numbers_of_one(
    finished: Plan, bench: Bench, tmp_path: Path
) -> None:
    """Arms and seeds asked for one after the other; the plan is the whole suite each time."""
    suite = bench.suite(tmp_path)
    for arms, seeds in ((["soft"], 1), (["constant", "soft"], None), ([], None)):
        plan = make_plan(suite, tmp_path / "run", bench.root, arms=arms, seeds=seeds)
        begin(plan, bench.root)
        tables = Runner(plan, bench.root, jobs=0).run()
        assert len(plan.folder.run().cells) == len(finished.cells)
    assert tables.missing == 0
    for a, b in zip(plan.folder.results(), finished.folder.results(), strict=True):
        assert numbers(a) == numbers(b)


def test_an_interrupted_cell_goes_on_and_ends_with_the_same_numbers(
    finished: Plan, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second trial: the first one is not trained again."""
    plan = bench.plan(tmp_path, arms=("soft",), data=("functions",))
    cell = plan.cells[0]
    begun: list[float] = []

    def counted(setup: Any, seed: int, path: Any, watch: Any) -> Any:
        begun.append(setup.recipe.lr)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return run_seed(setup, seed, path, watch)

    monkeypatch.setattr(trials, "run_seed", counted)
    with pytest.raises(KeyboardInterrupt):
        work(plan, bench, [cell])
    assert plan.folder.result(cell.hash) is None
    assert plan.folder.partial(cell.hash, "trials.json").is_file()
    monkeypatch.setattr(trials, "run_seed", run_seed)
    assert work(plan, bench, [cell]) == 1
    again, whole = plan.folder.result(cell.hash), finished.folder.result(cell.hash)
    assert again is not None and whole is not None and numbers(again) == numbers(whole)
    assert list((plan.folder.path / "partial").iterdir()) == []


def test_a_failed_cell_is_written_down_and_the_rest_goes_on(bench: Bench, tmp_path: Path) -> None:
    """More shots than rows; `--retry` forgets it."""
    text = bench.suite_text(data=("functions",), arms=("constant", "hard", "soft"))
    (tmp_path / "tiny.toml").write_text(text.replace("shots = 6", "shots = 600"), encoding="utf-8")
    from codeprompt.bench.load import load_suite

    plan = make_plan(load_suite(str(tmp_path / "tiny.toml")), tmp_path / "run", bench.root)
    begin(plan, bench.root)
    tables = Runner(plan, bench.root, jobs=0).run()
    assert (tables.done, tables.failed, tables.missing) == (1, 4, 0)
    row = next(row for row in tables.tables[0].rows if row.arm == "soft")
    assert "600 shots were asked for" in row.failed["0"] and row.missing_all
    assert forget_failed(plan) == 4 and len(plan.missing()) == 4


def test_a_fault_of_ours_fails_one_cell_with_its_place(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, but the file and the line."""

    def broken(*args: Any) -> Any:
        raise ValueError("something odd")

    plan = bench.plan(tmp_path, arms=("soft", "hard"), data=("functions",))
    monkeypatch.setattr(trials, "run_seed", broken)
    work(plan, bench)
    errors = {result.error for result in plan.folder.results()}
    assert all("ValueError: something odd (test_bench_run.py:" in error for error in errors)


def test_a_rate_that_diverges_is_never_chosen(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one wins; where all do, the cell fails with the first error."""
    real = trials.run_seed

    def diverging(setup: Any, seed: int, path: Any, watch: Any) -> Any:
        if setup.recipe.lr == 0.1:
            raise TrainingError("The loss is nan at step 3")
        return real(setup, seed, path, watch)

    plan = bench.plan(tmp_path, arms=("soft",), data=("functions",))
    monkeypatch.setattr(trials, "run_seed", diverging)
    cell = plan.cells[0]
    work(plan, bench, [cell])
    result = plan.folder.result(cell.hash)
    assert result is not None and result.chosen == 0 and result.trials[1].dev is None
    assert "nan" in result.trials[1].error


def test_dev_chooses_the_rate_and_test_rows_are_answered_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the losing rates would have scored on test is never known."""
    from codeprompt.bench import work as work_module

    answered: list[int] = []
    real = work_module.predictions

    def counted(prompt: Any, rows: Any, **more: Any) -> Any:
        answered.append(len(rows))
        return real(prompt, rows, **more)

    monkeypatch.setattr(work_module, "predictions", counted)
    plan = bench.plan(tmp_path, arms=("soft",), data=("functions",))
    work(plan, bench, [plan.cells[0]])
    assert answered == [9]
    result = plan.folder.result(plan.cells[0].hash)
    assert result is not None
    assert result.dev == max(t.dev for t in result.trials if t.dev is not None)


def test_other_seeds_take_the_rate_that_the_first_chose(bench: Bench, tmp_path: Path) -> None:
    """One trial each; if the first one failed, so do they."""
    plan = bench.plan(tmp_path, arms=("soft",), data=("functions",), select="first-seed")
    work(plan, bench)
    first, second = plan.folder.results()
    assert len(second.trials) == 1 and second.rate == first.rate
    plan.folder.write_result(replace(first, status="failed", error="no"))
    plan.folder.drop_result(second.hash)
    work(plan, bench)
    again = plan.folder.result(second.hash)
    assert again is not None and "chooses the learning rate, failed" in again.error


def test_a_cell_that_another_holds_is_left_to_it(bench: Bench, tmp_path: Path) -> None:
    """Two commands on one folder: no cell is run twice."""
    plan = bench.plan(tmp_path, arms=("constant",), data=("functions",))
    first, second = plan.cells
    with plan.folder.claim(first.hash) as ours:
        assert ours
        assert Queue(plan.folder, plan.cells, bench.root).work() == 1
    assert plan.folder.result(first.hash) is None and plan.folder.result(second.hash) is not None


def test_what_a_repository_keeps_of_a_run_is_gone_on_with(
    finished: Plan, bench: Bench, tmp_path: Path
) -> None:
    """Its `.gitignore` leaves out rows and work in progress: rows come anew, no cell does."""
    left_out = shutil.ignore_patterns(
        *(finished.folder.path / ".gitignore").read_text().split("/\n")
    )
    shutil.copytree(finished.folder.path, tmp_path / "run", ignore=left_out)
    assert not (tmp_path / "run/rows").exists()
    plan = make_plan(finished.suite, tmp_path / "run", bench.root)
    begin(plan, bench.root)
    assert not plan.missing()
    was, now = make_tables(finished.folder), make_tables(plan.folder)
    assert replace(was, made="") == replace(now, made="")


def test_a_folder_that_another_command_is_just_beginning_is_joined(
    bench: Bench, tmp_path: Path
) -> None:
    """Its folders are there, its description is not yet."""
    for name in ("cells", "results", "rows"):
        (tmp_path / "run" / name).mkdir(parents=True)
    plan = bench.plan(tmp_path, arms=("constant",), data=("functions",))
    assert plan.missing() and (tmp_path / "run/run.json").is_file()


def test_a_cell_that_ends_its_process_each_time_is_given_up(bench: Bench, tmp_path: Path) -> None:
    """After three attempts it is written down as failed."""
    from codeprompt.bench.store import Progress

    plan = bench.plan(tmp_path, arms=("constant",), data=("functions",))
    cell = plan.cells[0]
    plan.folder.say_progress(
        Progress(hash=cell.hash, label="x", pid=1, host="h", started=0.0, attempts=3)
    )
    work(plan, bench, [cell])
    result = plan.folder.result(cell.hash)
    assert result is not None and "ended 3 times" in result.error


def test_a_folder_of_other_data_is_refused(bench: Bench, tmp_path: Path) -> None:
    """The same name, other rows: the results there would not belong beside new ones."""
    root = tmp_path / "data"
    own = Bench(root, bench.backbone)
    for name, start in (("train", 0), ("valid", 50), ("test", 80)):
        jsonl(root / "functions" / f"{name}.jsonl", functions(start, 2))
    given: dict[str, Any] = {"arms": ("constant",), "data": ("functions",)}
    text = own.suite_text(**given).replace(
        '[data.defects]\ntask = "defect"\npath = "defects"\nlanguage = "c"\n', ""
    )
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    from codeprompt.bench.load import load_suite

    suite = load_suite(str(tmp_path / "tiny.toml"))
    begin(make_plan(suite, tmp_path / "run", root), root)
    jsonl(root / "functions" / "test.jsonl", functions(90, 2))
    from codeprompt.bench import data

    data._read.cache_clear()
    with pytest.raises(DataError, match=r"has changed since.*test rows.*another --out"):
        begin(make_plan(suite, tmp_path / "run", root), root)


def test_a_cut_or_changed_file_of_a_run_is_told(finished: Plan, tmp_path: Path) -> None:
    """With its path, and what to do."""
    hash = finished.cells[0].hash
    for name, text, match in (
        (f"results/{hash}.json", "{", "is not what a benchmark writes"),
        (f"results/{hash}.json", json.dumps({"version": 9}), "version 9.*that wrote it"),
    ):
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=match):
            RunFolder(tmp_path).result(hash)
    with pytest.raises(DataError, match="holds no benchmark run"):
        RunFolder(tmp_path).run()


def test_what_a_run_takes_is_measured_or_known_from_earlier_cells(
    finished: Plan, bench: Bench, tmp_path: Path
) -> None:
    """Probes throw their result away."""
    plan = bench.plan(tmp_path, data=("functions",))
    found = estimate_cost(plan, bench.root)
    assert (found.cells, found.baselines, found.probed, found.unknown) == (5, 4, 3, 0)
    assert found.seconds and found.wall(2) == found.seconds / 2
    assert set(found.each) == {cell.hash for cell in plan.cells if not cell.baseline}
    assert not list(plan.folder.results())
    hasty = estimate_cost(plan, bench.root, seconds=0.0)  # the others are taken for the mean
    assert (hasty.probed, hasty.unknown) == (1, 0) and set(hasty.each) == set(found.each)
    work(plan, bench, [cell for cell in plan.cells if cell.seed == 0])
    known = estimate_cost(plan, bench.root)
    assert known.probed == 0 and known.cells == 2 and known.seconds
    assert estimate_cost(finished, bench.root).seconds == 0
