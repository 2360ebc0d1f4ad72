"""`codeprompt bench`: what it prints, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benching import Bench, make_bench
from tests.test_cli import mistake, ok, run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def suite(bench: Bench, tmp_path: Path) -> Path:
    """A small user's suite."""
    path = tmp_path / "mine.toml"
    text = bench.suite_text(arms=("constant", "hard", "soft"), data=("functions",))
    path.write_text(text, encoding="utf-8")
    return path


def test_a_suite_is_run_and_its_tables_are_printed(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    """Then nothing is missing, and the same command answers at once."""
    words = ("bench", suite, "--data", bench.root, "--out", tmp_path / "run", "--jobs", 0)
    first = run(*words)
    assert first.exit_code == 0, first.output
    assert "summarize on functions: 9 rows, code as it stands" in first.stdout
    assert "soft against constant, 6 shots:" in first.stdout and "(Holm)" in first.stdout
    assert "Note: Made up for a test." in first.stdout
    assert "3 cells to run and 2 without a model, 0 done before; about" in first.stderr
    again = run(*words)
    assert again.stdout == first.stdout and "nothing is missing" in again.stderr
    found = ok(*words)
    assert found["folder"] == str(tmp_path / "run") and found["missing"] == 0
    rows = found["tables"][0]["rows"]
    assert {row["arm"] for row in rows} == {"constant", "hard", "soft"}


def test_a_dry_run_writes_nothing(bench: Bench, suite: Path, tmp_path: Path) -> None:
    """It names every cell and what it takes."""
    out = tmp_path / "run"
    words = ("bench", suite, "--data", bench.root, "--out", out, "--dry-run")
    found = ok(*words)
    assert found["missing"] == 5 and found["seconds"] > 0 and not out.exists()
    assert {cell["cell"] for cell in found["cells"]} >= {"functions/soft/6/seed-1"}
    shown = run(*words, "--no-estimate", "--arms", "soft", "--seeds", 1)
    assert "Does anything work at all?" in shown.stdout and "time unknown" in shown.stderr
    assert shown.stdout.count("  run   ") == 1


def test_parts_of_a_suite_can_be_asked_for(bench: Bench, suite: Path, tmp_path: Path) -> None:
    """The others are missing and said to be."""
    out = tmp_path / "run"
    shown = run("bench", suite, "--data", bench.root, "--out", out, "--jobs", 0,
                "--arms", "constant", "--no-estimate")  # fmt: skip
    assert shown.exit_code == 0 and "2 cells done, 0 failed, 3 missing" in shown.stdout
    assert json.loads((out / "tables.json").read_bytes())["missing"] == 3


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("smoky",), "Unknown suite 'smoky'"),
        ((), "No suite is named"),
        (("SUITE", "--data", "nowhere"), "no data at nowhere/functions"),
        (("SUITE", "--data", "ROOT", "--arms", "soft,sotf"), "no arm 'sotf'"),
        (("SUITE", "--data", "ROOT", "--only", "x"), "no data set 'x'"),
        (("SUITE", "--data", "ROOT", "--shots", "7"), "no cells with 7 shots"),
        (("SUITE", "--data", "ROOT", "--seeds", "0"), "--seeds"),
        (("SUITE", "--data", "ROOT", "--out", "SUITE"), "is a file"),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_one_paragraph(
    bench: Bench, suite: Path, words: tuple[Any, ...], match: str
) -> None:
    """Before anything is written."""
    given = {"SUITE": suite, "ROOT": bench.root}
    assert match in mistake("bench", *(given.get(word, word) for word in words))


def test_the_suites_that_ship_are_listed() -> None:
    """Without data, without a suite's name."""
    shown = run("bench", "--list")
    assert shown.exit_code == 0 and "low-resource  16 to 1000 examples" in shown.stdout
    assert [one["name"] for one in ok("bench", "--list")["suites"]][:2] == [
        "efficiency",
        "low-resource",
    ]


def test_failures_are_shown_with_their_reason(bench: Bench, suite: Path, tmp_path: Path) -> None:
    """And the command still ends well: the other cells are there."""
    text = suite.read_text(encoding="utf-8").replace("shots = 6", "shots = 600")
    suite.write_text(text, encoding="utf-8")
    words = ("bench", suite, "--data", bench.root, "--out", tmp_path / "run", "--jobs", 0)
    shown = run(*words, "--no-estimate")
    assert shown.exit_code == 0 and "1 cells done, 4 failed, 0 missing" in shown.stdout
    assert "soft, 600 shots, seed 0: 600 shots were asked for but there are 24" in shown.stdout
    assert "Runs 4 failed cells once more" in run(*words, "--no-estimate", "--retry").stderr
