"""What else must work with a tuned prompt, and which arms a suite leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeprompt.bench import checks
from codeprompt.bench.load import load_suite, read_suite
from codeprompt.bench.plan import begin, make_plan
from codeprompt.bench.queue import Queue
from codeprompt.bench.report.prices import priced
from codeprompt.bench.results import CellResult, Table
from codeprompt.bench.tables import make_tables
from codeprompt.errors import UnknownNameError
from tests.benching import Bench, make_bench

NAMES = ["mixed batch", "beams", "save, load", "int8"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Table, ...], list[CellResult]]:
    """Hard, soft and full on both tasks, with everything measured."""
    folder = tmp_path_factory.mktemp("checks")
    bench: Bench = make_bench(folder / "data")
    text = bench.suite_text(arms=("hard", "soft", "full")).replace("seeds = 2", "seeds = 1")
    text = text.replace("bootstrap = 20", "bootstrap = 0\nlatency = true\nchecks = true")
    (folder / "tiny.toml").write_text(text, encoding="utf-8")
    plan = make_plan(load_suite(str(folder / "tiny.toml")), folder / "run", bench.root)
    begin(plan, bench.root)
    Queue(plan.folder, plan.cells, bench.root).work()
    return make_tables(plan.folder).tables, list(plan.folder.results())


def test_every_arm_is_tried_and_a_backbone_of_its_own_does_not_mix(
    tables: tuple[tuple[Table, ...], list[CellResult]],
) -> None:
    """On the rows of the test itself; a label has no beams."""
    for one in tables[1]:
        assert one.status == "ok" and list(one.checks) == NAMES, one.error
        weights = one.config.arm == "full"
        assert one.checks["mixed batch"] == ("no: a backbone of its own" if weights else "yes")
        assert one.checks["beams"] == ("yes" if one.config.task == "summarize" else "–")
        assert one.checks["save, load"] == "yes"
        assert one.checks["int8"].startswith(("yes", "no fit product"))


def test_what_was_measured_gets_columns_and_nothing_else_does(
    tables: tuple[tuple[Table, ...], list[CellResult]],
) -> None:
    """Times over the hard prompt's; a suite without them has none."""
    table = tables[0][0]
    columns = {column.name: fill for column, fill in priced(table)}
    assert {"steps to best", "memory", "storage", "an answer", *NAMES} <= set(columns)
    hard, soft, _ = table.rows
    assert columns["against no prompt"](hard).text == "1.00×"
    assert columns["mixed batch"](soft).text == "yes"
    assert columns["steps to best"](soft).value in (2.0, 4.0)


def test_a_check_that_breaks_is_said_and_fails_no_cell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the reason."""
    bench = make_bench(tmp_path / "data")
    text = bench.suite_text(arms=("hard",), data=("functions",))
    text = text.replace("bootstrap = 20", "bootstrap = 0\nchecks = true")
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("as a fault of ours would")

    monkeypatch.setattr(checks, "prompt_of", broken)
    plan = make_plan(load_suite(str(tmp_path / "tiny.toml")), tmp_path / "run", bench.root)
    begin(plan, bench.root)
    Queue(plan.folder, plan.cells, bench.root).work()
    (found,) = plan.folder.results()
    assert found.status == "ok"
    assert found.checks["save, load"] == "no: ZeroDivisionError: as a fault of ours would"


def test_an_optional_arm_is_left_out_where_its_method_is_not_installed() -> None:
    """With every contrast that names it; one that is not optional is an error."""
    arms = {"hard": {"method": "hard"}, "new": {"method": "not-here", "optional": True}}
    values = {
        "summary": "s",
        "question": "q",
        "data": {"d": {"task": "summarize", "path": "d"}},
        "arms": arms,
        "grid": [{"data": "d", "arms": ["hard", "new"], "shots": 4}],
        "against": ["new"],
        "pairs": [["hard", "new"]],
    }
    suite = read_suite(values, "mine")
    assert list(suite.arms) == ["hard"] and suite.grid[0].arms == ("hard",)
    assert suite.against == () and suite.pairs == ()
    arms["new"]["optional"] = False
    with pytest.raises(UnknownNameError, match="not-here"):
        read_suite(values, "mine")
