"""The figures of a report: what each shows, and what it says it leaves out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from codeprompt.bench.published import published_for
from codeprompt.bench.report.answers import scored
from codeprompt.bench.report.figures import arms, figures
from codeprompt.bench.report.palette import inline, looks, on_scale
from codeprompt.bench.report.plots import (
    calibration,
    claim,
    curves,
    forest,
    interpolation,
    standing,
)
from codeprompt.bench.report.source import Source, read
from codeprompt.bench.results import Table
from tests.reported import ROWS, SHOTS, make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def first(runs: Path) -> Source:
    return read(runs / "first")


@pytest.fixture(scope="module")
def table(first: Source) -> Table:
    return first.tables.tables[0]


def test_curves_need_two_numbers_of_shots_and_leave_out_what_alpha_varies(
    first: Source, table: Table
) -> None:
    size = curves.sizes(first, table)
    assert list(size.values()) == [float(one) for one in SHOTS]
    lines = curves.lines(table, table.metrics[0], size)
    assert set(lines) == {"constant", "hard", "soft", "lora", "full"}
    assert [place for place, *_ in lines["soft"]] == list(SHOTS)
    assert {mean for _, mean, *_ in lines["hard"]} == {lines["hard"][0][1]}
    with curves.draw(first, _only(table, 64), table.metrics[0], looks(arms(first))) as figure:
        assert figure is None


def _only(table: Table, shots: int) -> Table:
    return dataclasses.replace(table, rows=tuple(r for r in table.rows if r.shots in (0, shots)))


def test_alpha_makes_a_curve_on_each_evaluation_and_one_of_both(first: Source) -> None:
    metric = "codexglue-sentence-bleu"
    found = [interpolation.curves(one, metric) for one in first.tables.tables]
    assert [[p[0] for p in curve.points] for (curve,) in found] == [[0.0, 0.5, 1.0]] * 2
    assert list(interpolation.matched(*found)) == ["wise, 64 shots"]
    names = {one.name for one in figures(first, first.tables.tables[0], looks(arms(first)))}
    assert {
        "summarize-graphs-test-along-alpha",
        "summarize-graphs-test-against-renamed-alpha",
    } <= names


def test_every_contrast_stands_in_one_forest(table: Table) -> None:
    parts = forest.parts(table.contrasts)
    assert sum(len(own) for _, own in parts) == len(table.contrasts)
    assert all(one.a == against for against, own in parts for one in own)
    assert max(len(own) for _, own in forest.parts(table.contrasts * 5)) <= forest.MOST


def test_a_forest_tells_what_one_seed_alone_says(table: Table) -> None:
    """No claim about seeds where there was one; and none of it where there were more."""
    several = [dataclasses.replace(one, p_seeds=0.5, shots=64) for one in table.contrasts[:3]]
    assert "one seed" not in forest.caption(several, True)
    once = [dataclasses.replace(several[0], p_seeds=None), *several[1:]]
    assert forest.caption(once, True).endswith("Of one seed, so over items alone: 1 of 3.")


def test_a_standing_tells_how_many_it_leaves_out(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out in silence."""
    metric = next(iter(table.metrics))
    assert "The best" not in standing.caption(table, metric)
    monkeypatch.setattr(standing, "MOST", 2)
    assert "The best 2 of " in standing.caption(table, metric)


def test_calibration_counts_positive_rows_by_score(runs: Path) -> None:
    source = read(runs / "defects")
    table = source.tables.tables[0]
    row = next(row for row in table.rows if row.arm == "soft" and row.shots == 64)
    found = scored(source, table, row)
    assert len(found) == ROWS * len(row.seeds)
    assert calibration.bins([(0.75, True)] * 6 + [(0.72, False)] * 4 + [(1.0, True)] * 4) == [
        (pytest.approx(0.738), 0.6, 10)
    ]
    names = {one.name for one in figures(source, table, looks(arms(source)))}
    assert "defect-graphs-test-calibration" in names


def test_a_title_cannot_break_out_of_a_figure() -> None:
    drawn = inline('<?xml?><svg viewBox="0 0 1 1" width="1pt"><g/></svg>', "a</title><script>")
    assert "<title>a&lt;/title&gt;&lt;script&gt;</title>" in drawn


def test_a_poor_answer_without_a_model_sets_no_scale() -> None:
    look = looks([("a", "frozen"), *((name, "baseline") for name in "xyz")])
    assert set(on_scale({"a": 1.0, "x": 3.0, "y": 0.1, "z": 2.0}, look)) == {"a", "x", "z"}


def test_published_curves_stand_beside_what_is_not_trained(table: Table) -> None:
    """Only those over numbers of shots; a table without any has no such figure."""
    assert claim.lines(table, table.metrics[0]) == {}
    told = dataclasses.replace(table, published=published_for("csn-python", "tokens"))
    found = claim.lines(told, "codexglue-sentence-bleu")
    assert [one.value for one in found["CodeT5-small", "full"]][:2] == [4.69, 6.73]
    assert {row.arm for row in claim.untrained(told, table.metrics[0])} >= {"hard", "constant"}
