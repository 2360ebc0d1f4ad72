"""Tables: means and intervals over seeds, tests over items and seeds, ties called ties."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from codeprompt.bench.contrasts import Answered, contrasts, over_seeds, planned
from codeprompt.bench.plan import Plan
from codeprompt.bench.results import CellResult, Estimate, TableRow
from codeprompt.bench.run import Runner
from codeprompt.bench.store import RunFolder
from codeprompt.bench.tables import UNTESTED, estimate, make_tables
from codeprompt.metrics.base import Item
from codeprompt.metrics.compare import compare
from codeprompt.metrics.seeds import seed_interval
from tests.benching import Bench, make_bench

BLEU, ACCURACY = "codexglue-sentence-bleu", "accuracy"
REFERENCE = "return the sum of the given values"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def finished(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = bench.plan(tmp_path_factory.mktemp("tables"))
    Runner(plan, bench.root, jobs=0).run()
    return plan


def texts(count: int, right: int) -> list[Item]:
    """`count` items of which the first `right` are answered rightly."""
    answers = [REFERENCE] * right + ["open a file"] * (count - right)
    return [Item(text, (f"{REFERENCE} {at}",), id=str(at)) for at, text in enumerate(answers)]


def labels(count: int, right: int) -> list[Item]:
    said = ["defective"] * right + ["clean"] * (count - right)
    return [Item(text, ("defective",), 0.5, str(at)) for at, text in enumerate(said)]


def row(
    arm: str, items: Mapping[int, Sequence[Item]], metric: str = BLEU, **given: Any
) -> Answered:
    """A table's row whose values are the metric's."""
    from codeprompt.registry import METRICS

    values = [METRICS.get(metric).measured(own, positive="defective").value
              for own in items.values()]  # fmt: skip
    made: dict[str, Any] = {"kind": "frozen", "shots": 8, "variant": "", **given}
    one = TableRow(
        arm=arm,
        cells=("x",) * len(items),
        seeds=tuple(items),
        metrics={metric: estimate(values)},
        **made,
    )
    return Answered(one, items)


def judged(*pairs: tuple[Answered, Answered], metric: str = BLEU) -> Any:
    return contrasts(pairs, metric, positive="defective", language=None, draws=500)


def test_an_estimate_is_the_t_interval_over_seeds() -> None:
    """Undefined values are left out and counted; one seed has no interval."""
    values = [1.0, 2.0, 4.0]
    found = estimate(values)
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert found.mean == pytest.approx(7 / 3)
    assert found.interval == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert estimate([1.0, None, 2.0, 4.0]).mean == found.mean
    assert estimate([3.0]) == Estimate(mean=3.0, interval=None, values=(3.0,))
    assert estimate([None]).mean is None
    assert seed_interval([1.0]) is None


def test_seeds_are_tested_in_pairs() -> None:
    """Against scipy; a row without chance in it is a constant; fewer than two seeds: no test."""
    a, b = {0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.5, 1: 2.1, 2: 3.6, 3: 9.0}
    found = stats.ttest_rel([1.5, 2.1, 3.6], [1.0, 2.0, 3.0]).pvalue
    assert over_seeds(a, b) == pytest.approx(float(found))
    one = stats.ttest_1samp([1.0, 2.0, 3.0], 1.2).pvalue
    assert over_seeds({0: 1.2}, a) == pytest.approx(float(one))
    assert over_seeds(a, {0: 1.2}) == pytest.approx(float(one))
    assert over_seeds({0: 1.0}, {0: 2.0}) is None
    assert over_seeds({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}) == 0.0
    assert over_seeds({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}) == 1.0


def test_a_clear_difference_has_a_winner_and_an_interval_that_leaves_out_zero() -> None:
    """Over items and over seeds alike."""
    worse = row("worse", {seed: texts(40, 2 + seed) for seed in range(4)})
    better = row("better", {seed: texts(40, 30 + seed) for seed in range(4)})
    (found,) = judged((worse, better))
    assert found.winner == "b" and found.difference > 0 and found.interval[0] > 0
    assert (found.a, found.b, found.seeds, found.n) == ("worse", "better", 4, 40)
    (turned,) = judged((better, worse))
    assert turned.winner == "a" and turned.difference == pytest.approx(-found.difference)


def test_a_difference_that_items_show_and_seeds_do_not_is_a_tie() -> None:
    """The larger p decides."""
    a = row("a", {0: texts(40, 10), 1: texts(40, 30)})
    b = row("b", {0: texts(40, 35), 1: texts(40, 15)})
    (found,) = judged((a, b))
    assert found.p_seeds is not None and found.p == max(found.p_items, found.p_seeds)
    assert found.p_seeds > 0.05 and found.winner == "tie"


def test_equal_rows_tie_with_p_of_one() -> None:
    """No seed, no item differs."""
    same = {seed: texts(20, 7) for seed in range(3)}
    (found,) = judged((row("a", same), row("b", same)))
    assert found.winner == "tie" and found.p == 1.0 and found.difference == 0


def test_single_runs_that_are_right_or_wrong_are_tested_by_mcnemar() -> None:
    """With the exact p of `codeprompt compare`."""
    a, b = labels(30, 12), labels(30, 24)
    (found,) = judged((row("a", {0: a}, ACCURACY), row("b", {0: b}, ACCURACY)), metric=ACCURACY)
    expected = compare(a, b, ACCURACY, positive="defective", bootstrap=10)
    assert found.p_items == expected.p == pytest.approx(stats.binomtest(0, 12).pvalue)
    assert found.p_seeds is None and found.test.startswith("mcnemar-exact")


def test_many_comparisons_are_corrected_together() -> None:
    """Holm's: the smallest p times their number, never below the one before."""
    base = row("base", {seed: texts(40, 10 + seed) for seed in range(3)})
    others = [
        row(f"arm{n}", {seed: texts(40, 10 + n + seed) for seed in range(3)}) for n in range(5)
    ]
    found = judged(*((base, other) for other in others))
    ordered = sorted(found, key=lambda one: one.p)
    assert ordered[0].p_holm == pytest.approx(min(1.0, 5 * ordered[0].p))
    assert all(one.p_holm >= one.p for one in found)
    assert [o.p_holm for o in ordered] == sorted(o.p_holm for o in ordered)


def test_the_contrasts_are_those_that_the_suite_planned(finished: Plan) -> None:
    """Every tuned or untrained arm against each of `against`, once; no baseline against another."""
    table = make_tables(finished.folder).tables[0]
    found = {frozenset((one.a, one.b)) for one in table.contrasts}
    models = ("hard", "soft", "full")
    wanted = {frozenset(("constant", model)) for model in models}
    wanted |= {frozenset(("hard", model)) for model in ("soft", "full")}
    assert found == wanted
    rows = [r for r in table.rows if r.arm != "soft"]
    assert len(planned(finished.suite, rows)) == 3


def test_a_table_holds_every_row_with_its_seeds(finished: Plan) -> None:
    """Baselines among the arms, kinds told apart, dev scores and rates beside."""
    tables = make_tables(finished.folder)
    assert (tables.done, tables.failed, tables.missing) == (len(finished.cells), 0, 0)
    summarize, defect = tables.tables
    kinds = {row.arm: row.kind for row in summarize.rows}
    assert kinds == {"constant": "baseline", "retrieval": "baseline", "hard": "untrained",
                     "soft": "frozen", "full": "weights"}  # fmt: skip
    assert {row.arm for row in defect.rows} == {"majority", "retrieval", "hard", "soft", "full"}
    soft = next(row for row in summarize.rows if row.arm == "soft")
    assert soft.seeds == (0, 1) and len(soft.rates) == 2 and soft.dev is not None
    assert soft.cost.parameters == 96 and soft.missing == ()
    assert summarize.metrics == (BLEU, "chrf") and summarize.n == 9
    assert summarize.notes[0] == "Made up for a test."
    assert any("positive label" in note for note in defect.notes)
    results: dict[str, CellResult] = {r.hash: r for r in finished.folder.results()}
    values = [results[hash].evaluations[0].value(BLEU) for hash in soft.cells]
    assert soft.metrics[BLEU] == estimate(values)


def test_tables_are_written_and_read_again(finished: Plan) -> None:
    """As they were, and made anew without what is missing."""
    written = finished.folder.tables()
    assert written is not None and written.tables == make_tables(finished.folder).tables


def test_rows_that_overlap_are_left_out_beside(bench: Bench, tmp_path: Path) -> None:
    """A test row that stands in the pool is reported, and scores are given without it."""
    from tests.benching import functions, jsonl

    root = tmp_path / "data"
    shutil.copytree(bench.root / "functions", root / "functions")
    shutil.copytree(bench.root / "defects", root / "defects")
    jsonl(root / "functions" / "test.jsonl", [*functions(80, 1), *functions(0, 1)[:1]])
    own = Bench(root, bench.backbone)
    plan = own.plan(tmp_path, arms=("retrieval",), data=("functions",))
    tables = Runner(plan, root, jobs=0).run()
    report = plan.folder.data_reports()["functions"]
    assert list(report.overlapping["test"].values()) == ["exact"]
    across = next(one for one in report.across if one.part == "test")
    assert (across.exact, across.near, across.rows) == (1, 1, 9)
    row = tables.tables[0].rows[0]
    result = next(plan.folder.results())
    assert result.evaluations[0].overlapping == 1
    assert result.evaluations[0].without_overlap[0].n == 8
    whole, without = row.metrics[BLEU].mean, row.without_overlap[BLEU].mean
    assert whole is not None and without is not None and whole != without
    assert any("1 of 9 rows stand in" in note for note in tables.tables[0].notes)


def test_results_without_their_rows_say_that_nothing_is_tested(
    finished: Plan, tmp_path: Path
) -> None:
    """As in a clone, whose repository leaves the rows out; scores stay."""
    shutil.copytree(finished.folder.path, tmp_path / "run")
    whole = make_tables(RunFolder(tmp_path / "run")).tables
    assert any(table.contrasts for table in whole)
    shutil.rmtree(tmp_path / "run" / "rows")
    for before, after in zip(whole, make_tables(RunFolder(tmp_path / "run")).tables, strict=True):
        assert after.rows == before.rows and after.contrasts == ()
        assert UNTESTED not in before.notes
        assert (UNTESTED in after.notes) == bool(before.contrasts)


def test_a_suite_that_reads_no_test_rows_has_dev_scores_alone(bench: Bench, tmp_path: Path) -> None:
    """With the log-probability of a dev token beside; nothing is predicted on test."""
    text = bench.suite_text(arms=("soft", "full"), data=("functions",))
    path = tmp_path / "dev.toml"
    path.write_text(text.replace("bootstrap = 20", "reads_test = false"), encoding="utf-8")
    from codeprompt.bench.load import load_suite
    from codeprompt.bench.plan import begin, make_plan

    plan = make_plan(load_suite(str(path)), tmp_path / "run", bench.root)
    begin(plan, bench.root)
    (table,) = Runner(plan, bench.root, jobs=0).run().tables
    assert table.evaluation == "dev" and table.contrasts == ()
    assert table.metrics == (BLEU, "log-probability")
    for one in table.rows:
        assert one.dev == one.metrics[BLEU]
        assert all(
            value is not None and value < 0 for value in one.metrics[table.metrics[1]].values
        )
    assert not any(folder for folder in (plan.folder.path / "rows").iterdir())


def test_the_board_shows_what_runs_and_how_long_it_will(bench: Bench, tmp_path: Path) -> None:
    """As one line, or drawn on a terminal."""
    import io

    from rich.console import Console

    from codeprompt.bench.board import Board, spoken
    from codeprompt.bench.store import Progress

    plan = bench.plan(tmp_path, arms=("soft",), data=("functions",))
    told = Progress(hash=plan.cells[0].hash, label="functions/soft", pid=1, host="h", started=0.0,
                    share=0.5, doing="step 2/4")  # fmt: skip
    plan.folder.say_progress(told)
    out = io.StringIO()
    board = Board(plan, Console(file=out), 2, {cell.hash: 40.0 for cell in plan.cells})
    assert board.line().startswith("0 of 2 cells, functions/soft: step 2/4, ")
    live = Board(plan, Console(file=out, force_terminal=True, width=100), 2)
    with live:
        live.look()
        Console(file=out, width=100).print(live.drawn())
    assert "functions/soft" in out.getvalue() and "0/2 cells" in out.getvalue()
    assert live.left() == "?"
    gone = replace(told, host=socket.gethostname(), pid=2**22 + 1, label="functions/killed")
    plan.folder.say_progress(gone)
    assert board.line().startswith("0 of 2 cells, ") and "killed" not in board.line()
    found = [spoken(seconds) for seconds in (5, 240, 7300, 200_000)]
    assert found == ["5 s", "4 min", "2 h 2 min", "2 d 7 h"]


def test_a_row_whose_other_seeds_have_not_ended_is_no_constant() -> None:
    """One that draws no shots is."""
    one, two = {0: 1.0}, {0: 2.0, 1: 2.5}
    assert over_seeds(one, two, (True, False)) is not None
    assert over_seeds(one, two, (False, False)) is None
    assert over_seeds(two, one, (False, False)) is None
