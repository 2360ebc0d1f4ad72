"""What was stored before stays readable and can be asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeprompt.bench.earlier import read_few_shot
from codeprompt.bench.expand import expand
from codeprompt.bench.load import load_suite
from codeprompt.errors import DataError

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
STORED = sorted((BENCHMARKS / "results").glob("few-shot-*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_run_is_a_table(path: Path) -> None:
    """Arms, seeds, means as they were printed then."""
    table = read_few_shot(path)
    kinds = {row.arm: row.kind for row in table.rows}
    assert (kinds["hard"], kinds["soft"], kinds["full"]) == ("untrained", "frozen", "weights")
    assert sum(row.kind == "baseline" for row in table.rows) == 1
    for row in table.rows:
        tuned = {"soft": (5,), "full": (3, 5)}
        assert len(row.seeds) in tuned.get(row.arm, (1,))
        assert table.metrics[0] in row.metrics


def test_the_means_are_those_of_the_readme() -> None:
    """14.92 [13.91, 15.94] for the soft prompt on summaries."""
    stored = "few-shot-summarize-csn_python-100-builtin-2.json"
    table = read_few_shot(BENCHMARKS / "results" / stored)
    soft = next(row for row in table.rows if row.arm == "soft")
    found = soft.metrics["codexglue-sentence-bleu"]
    assert found.mean == pytest.approx(14.92, abs=0.006) and found.interval is not None
    assert found.interval == pytest.approx((13.91, 15.94), abs=0.006)


def test_the_stored_settings_are_a_suite() -> None:
    """The same arms, shots, steps and rows; baselines beside."""
    suite = load_suite(str(BENCHMARKS / "few-shot.toml"))
    cells = expand(suite)
    soft = [cell for cell in cells if cell.arm == "soft"]
    assert {(c.task, c.shots, c.overrides["steps"], c.evaluations[0].rows) for c in soft} == {
        ("summarize", 100, 200, 500),
        ("defect", 100, 100, 1000),
        ("translate", 100, 100, 200),
    }


@pytest.mark.parametrize("text", ["", "[]", '{"cells": {}}', '{"cells": {"a": 1}, "setting": {}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """With its path."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.json is no result"):
        read_few_shot(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_few_shot(tmp_path / "none.json")
