"""The one table of all methods, from a run and a speed run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.methods import HEADS, lines
from codeprompt.bench.report.source import read
from tests.reported import make_run


def test_every_arm_has_a_line_with_the_best_summaries_first(tmp_path: Path) -> None:
    """As many cells as heads, whatever is not known a dash, times from the speed run alone."""
    make_run(tmp_path / "run")
    table = read(tmp_path / "run").tables.tables[0]
    found = list(lines({"summarize": table}, {"a step, soft over soft": 1.0}))
    cells = [line.strip("| ").split(" | ") for line in found[2:]]
    assert {row.arm for row in table.rows} == {row[0] for row in cells}
    assert all(len(row) == len(HEADS) for row in cells)
    scores = [float(row[1].split()[0]) for row in cells]
    assert scores == sorted(scores, reverse=True)
    steps = {row[0]: row[HEADS.index("a step")] for row in cells}
    assert steps["soft"] == "1.00x" and steps["full"] == "–"
    assert {row[HEADS.index("accuracy")] for row in cells} == {"–"}
