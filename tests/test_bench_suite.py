"""Suites: what ships loads and expands; what does not fit is told by table and key."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from codeprompt.bench.cell import Cell, as_plain
from codeprompt.bench.expand import chosen, expand
from codeprompt.bench.load import load_suite, read_suite, suite_names
from codeprompt.bench.plan import make_plan
from codeprompt.bench.published import published, published_for
from codeprompt.bench.registries import BASELINES
from codeprompt.bench.suite import DataSpec, EvaluationSpec
from codeprompt.errors import CodepromptError, DataError, UnknownNameError, UsageError
from codeprompt.registry import TASKS

GOOD: dict[str, Any] = {
    "summary": "s",
    "question": "q",
    "data": {"d": {"task": "summarize", "path": "d"}},
    "arms": {"a": {"method": "soft", "rates": [0.1, 0.2]}, "c": {"baseline": "constant"}},
    "grid": [{"data": "d", "arms": ["a", "c"], "shots": [4, "1%"]}],
}


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """GOOD with one place changed."""
    out: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(GOOD))
    here: Any = out
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return out


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_ships_loads_and_its_cells_are_all_unlike(name: str) -> None:
    """Hashes and labels name one cell each, and a configuration survives JSON."""
    suite = load_suite(name)
    cells = expand(suite)
    assert suite.summary and suite.question.endswith("?")
    assert len({cell.hash for cell in cells}) == len(cells)
    for cell in cells[:20]:
        again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(as_plain(cell))), Cell)
        assert again == cell and again.hash == cell.hash


def test_the_suites_are_those_that_the_documentation_names() -> None:
    """Eight questions, and the learning rates behind them."""
    named = "efficiency low-resource methods paper rates robustness smoke templates transfer"
    assert suite_names() == named.split()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (changed("grid", value=[]), "has no grid"),
        (changed("grid", 0, "arms", value=["b"]), "names the arm 'b'.*one of: a, c"),
        (changed("grid", 0, "data", value=["e"]), "names the data set 'e'"),
        (changed("grid", 0, "shots", value=[]), "has no shots"),
        (changed("grid", 0, "shots", value=["many"]), "shots = 'many'"),
        (changed("grid", 0, "shots", value=["10"]), "shots = '10'.*'1%'"),
        (changed("grid", 0, "evaluate", value="dev"), "names the evaluation 'dev'"),
        (changed("grid", 0, "vary", value={"rates": [1]}), "cannot change 'rates'"),
        (changed("grid", 0, "vary", value={"template": []}), "varies nothing"),
        (changed("grid", 0, "shot", value=3), "unknown key 'shot'.*Did you mean 'shots'"),
        (changed("arms", "a", "methods", value="x"), "arm 'a'.*'methods'.*mean 'method'"),
        (changed("arms", "a", "baseline", value="copy"), "a method and a baseline"),
        (changed("arms", "a", value={}), "neither method nor baseline"),
        (changed("arms", "a", "method", value="softt"), "Unknown method 'softt'.*'soft'"),
        (changed("arms", "c", "baseline", value="constnt"), "Unknown baseline.*'constant'"),
        (changed("arms", "a", "rates", value=[0.1, 0.1]), "all unlike"),
        (changed("arms", "a", "rates", value=[0]), "above zero"),
        (changed("arms", "a", value=3), "where a table belongs"),
        (changed("data", "d", "task", value="sumarize"), "Unknown task.*'summarize'"),
        (changed("data", "d", "path", value=[]), "the path \\[\\]"),
        (changed("data", "d", "form", value="words"), "data 'd' does not fit.*form"),
        (changed("data", "d", "cut", value="tset"), "cut = 'tset'"),
        (changed("evaluate", value={"x": {"transform": "shout"}}), "Unknown transformation"),
        (changed("evaluate", value={"x": {"data": "e"}}), "names the data 'e'"),
        (changed("evaluate", value={"x": {"rows": -1}}), "-1 rows"),
        (changed("seeds", value=0), "seeds = 0"),
        (changed("seeds", value="five"), "does not fit.*seeds"),
        (changed("against", value=["b"]), "a contrast names the arm 'b'"),
        (changed("select", value="best"), "does not fit.*select"),
        (changed("question", value=3), "does not fit"),
    ],
)
def test_a_bad_suite_is_refused_with_the_place_and_the_way_out(
    values: dict[str, Any], match: str
) -> None:
    """Before any data is read."""
    with pytest.raises(UsageError, match=match):
        read_suite(values, "mine")


def test_a_suite_lacks_what_it_must_say(tmp_path: Path) -> None:
    """A question, valid TOML, a file that is there."""
    with pytest.raises(UsageError, match="question"):
        read_suite({k: v for k, v in GOOD.items() if k != "question"}, "mine")
    with pytest.raises(UnknownNameError, match="Did you mean 'smoke'"):
        load_suite("smoky")
    with pytest.raises(UsageError, match="no suite at"):
        load_suite(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("a = [", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_suite(str(tmp_path / "bad.toml"))


def test_cells_are_a_full_cross_and_what_is_not_random_is_run_once() -> None:
    """Seeds of tuned arms and of baselines that learn; one cell of those that do not."""
    values = changed("arms", "h", value={"method": "hard"})
    values["arms"]["n"] = {"baseline": "function-name"}
    values["grid"][0]["arms"] = ["a", "c", "h", "n"]
    cells = expand(read_suite({**values, "seeds": 3}, "mine"))
    count = {arm: sum(cell.arm == arm for cell in cells) for arm in "achn"}
    assert count == {"a": 6, "c": 6, "h": 1, "n": 1}
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


def test_a_rate_chosen_on_the_first_seed_is_taken_by_the_others() -> None:
    """They name the cell that chooses; asking for them asks for it."""
    cells = expand(read_suite({**GOOD, "select": "first-seed", "seeds": 3}, "mine"))
    tuned = [cell for cell in cells if cell.arm == "a" and cell.shots == 4]
    first, *others = tuned
    assert first.rates == (0.1, 0.2) and not first.rates_from
    assert all(c.rates == () and c.rates_from == first.hash for c in others)
    assert first in chosen(cells, ["a"])


def test_what_a_grid_varies_is_in_the_label_and_the_configuration() -> None:
    """Nested names reach the arm's tables; a baseline stays one row."""
    grid = {"data": "d", "arms": ["a", "c"], "shots": 4,
            "vary": {"options": {"length": [1, 2]}, "template": {"short": "{code}"}}}  # fmt: skip
    cells = expand(read_suite({**GOOD, "grid": [grid], "seeds": 1}, "mine"))
    assert sorted(cell.label for cell in cells) == [
        "d/a (length=1, template=short)/4/seed-0",
        "d/a (length=2, template=short)/4/seed-0",
        "d/c/4/seed-0",
    ]
    varied = next(cell for cell in cells if "length=2" in cell.label)
    assert varied.options == {"length": 2} and varied.template == "{code}"


def test_notes_change_no_cell_and_a_new_field_changes_no_hash() -> None:
    """Words beside the numbers are no part of a cell's identity, nor are defaults."""
    plain = expand(read_suite(GOOD, "mine"))
    noted = expand(read_suite(changed("data", "d", "notes", value=["A trap."]), "mine"))
    assert [cell.hash for cell in plain] == [cell.hash for cell in noted]
    cell = Cell(
        arm="a",
        data=DataSpec(name="d", task="summarize", path=("d",)),
        evaluations=(EvaluationSpec(name="test"),),
    )
    assert as_plain(cell) == {
        "arm": "a",
        "data": {"name": "d", "task": "summarize", "path": ["d"]},
        "evaluations": [{"name": "test"}],
    }
    assert cell.hash == "ce8a6e2ed59917b0"
    assert replace(cell, seed=1).hash != cell.hash


def test_two_arms_that_say_the_same_are_refused() -> None:
    """They would be one number under two names."""
    values = changed("arms", "b", value={"method": "soft", "rates": [0.1, 0.2]})
    values["grid"][0]["arms"] = ["a", "b"]
    # Arms are part of a cell's name, so this is allowed; unlike cells of one label are not.
    assert len(expand(read_suite(values, "mine"))) == 20
    twice = [GOOD["grid"][0], {**GOOD["grid"][0], "set": {"overrides": {"steps": 3}}}]
    with pytest.raises(UsageError, match="two unlike cells d/a/4/seed-0"):
        expand(read_suite({**GOOD, "grid": twice}, "mine"))


def test_a_plan_names_what_it_does_not_know(tmp_path: Path) -> None:
    """Data that is not there, arms, data sets and shots of another suite, a folder in use."""
    suite = read_suite(GOOD, "mine")
    with pytest.raises(DataError, match=r"no data at .*--data"):
        make_plan(suite, tmp_path / "run", tmp_path)
    (tmp_path / "d").mkdir()
    for given, match in (
        ({"arms": ["b"]}, "no arm 'b'"),
        ({"data": ["e"]}, "no data set 'e'"),
        ({"shots": ["5"]}, "no cells with 5 shots.*one of: 4, 1%"),
    ):
        with pytest.raises(UsageError, match=match):
            make_plan(suite, tmp_path / "run", tmp_path, **given)  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(CodepromptError, match="holds other files"):
        make_plan(suite, tmp_path / "other", tmp_path)


@pytest.mark.parametrize("name", [".gitignore.x1.tmp", ".run.json.x1.tmp", "cells/"])
def test_a_folder_that_another_command_just_begins_is_a_run_s(tmp_path: Path, name: str) -> None:
    """Whatever it has written so far, the half-written file included."""
    (tmp_path / "d").mkdir()
    run = tmp_path / "run"
    (run / "cells").mkdir(parents=True)
    if not name.endswith("/"):
        (run / name).write_text("", encoding="utf-8")
    assert make_plan(read_suite(GOOD, "mine"), run, tmp_path).cells


def test_optional_data_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    """And said so; nothing else is."""
    values = changed("data", "e", value={"task": "summarize", "path": "e", "optional": True})
    values["grid"][0]["data"] = ["d", "e"]
    (tmp_path / "d").mkdir()
    plan = make_plan(read_suite(values, "mine"), tmp_path / "run", tmp_path)
    assert plan.left_out == ("e",) and {cell.data.name for cell in plan.cells} == {"d"}


def test_published_figures_are_those_of_the_study() -> None:
    """Marked by source; on joined tokens they never stand beside source text."""
    found = {(p.data, p.backbone, p.arm, p.shots, p.metric): p.value for p in published()}
    assert found["csn-python", "CodeT5-base", "prompt-full", 0, "codexglue-sentence-bleu"] == 18.52
    low = "codexglue-sentence-bleu"
    assert found["csn-mean-of-six", "CodeT5-small", "full", 100, low] == 4.69
    assert found["codetrans-java-cs", "CodeT5-base", "full", 0, "exact-match"] == 65.30
    assert all(one.source for one in published())
    assert published_for("csn-python", "tokens") and not published_for("csn-python", "text")


def test_the_package_holds_its_suites() -> None:
    """Every file is TOML with the keys that a reader looks for first."""
    for path in (Path(load_suite.__code__.co_filename).parent / "suites").glob("*.toml"):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        assert {"summary", "question", "data", "arms", "grid"} <= set(values)


@pytest.mark.parametrize("name", suite_names())
def test_every_table_that_ships_holds_every_baseline_that_fits(name: str) -> None:
    """A suite that reads no test row makes no claim, and has none."""
    suite = load_suite(name)
    cells = expand(suite)
    for data in {cell.data.name for cell in cells} if suite.reads_test else ():
        task = TASKS.get(suite.data[data].task)
        there = {cell.baseline for cell in cells if cell.data.name == data} - {""}
        assert there == {one for one in BASELINES.names() if BASELINES.get(one).fits(task)}


def test_all_baselines_have_a_name_of_their_own() -> None:
    """Those that do not fit the task are left out of its cells."""
    values = {**GOOD, "grid": [{**GOOD["grid"][0], "arms": ["baselines", "a"]}]}
    suite = read_suite(values, "mine")
    assert set(suite.grid[0].arms) == {*BASELINES.names(), "a"}
    assert {"constant", "copy", "function-name", "retrieval"} == {
        cell.baseline for cell in expand(suite) if cell.baseline
    }
