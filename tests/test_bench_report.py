"""The report of benchmark runs: what it shows, what it leaves out, and in what forms."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from codeprompt.bench.report import exports, grid, numbers, write_report
from codeprompt.bench.report.answers import examples
from codeprompt.bench.report.board import boards, leaderboard, welch
from codeprompt.bench.report.findings import findings
from codeprompt.bench.report.grid import Cell, Column, Grid
from codeprompt.bench.report.palette import DARK, LIGHT
from codeprompt.bench.report.source import Source, read, read_all
from codeprompt.bench.results import Estimate, Table
from codeprompt.cli.report import COMMAND
from codeprompt.errors import DataError, UsageError
from tests.reported import SHOTS, make_run, make_runs, suite


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def first(runs: Path) -> Source:
    return read(runs / "first")


@pytest.fixture(scope="module")
def table(first: Source) -> Table:
    return first.tables.tables[0]


@pytest.fixture(scope="module")
def page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `first` with its files."""
    out = tmp_path_factory.mktemp("out") / "first.html"
    write_report([runs / "first"], out)
    return out


class Seen(HTMLParser):
    """What a page is made of: addresses, ids, tags that were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "action") and value:
                self.addresses.append(value)
            if name == "id" and value and not value.startswith(("m", "p", "Dej")):
                self.ids.append(value)
        if tag not in ("meta", "link", "br", "input", "img", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_asks_nothing_of_any_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {a.partition(":")[0] for a in Seen(text).addresses if not a.startswith("#")} == {"data"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    seen = Seen(text)
    assert seen.open == []
    named = set(re.findall(r'\bid="([^"]+)"', text))
    assert {a[1:] for a in seen.addresses if a.startswith("#")} <= named


def test_what_data_and_models_say_is_shown_as_text_and_never_as_markup(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "return the list of a &lt;b&gt;." in text and "a <b>" not in text
    assert "Loss is &lt;nan&gt; at step 3." in text


def test_every_mean_of_the_tables_stands_in_the_page(page: Path, first: Source) -> None:
    text = page.read_text(encoding="utf-8")
    for one in first.tables.tables:
        for row in one.rows:
            for metric, found in row.metrics.items():
                assert found.mean is not None
                assert numbers.number(found.mean, numbers.digits(metric)) in text


def test_the_page_says_what_failed_and_what_overlaps(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "1 failed" in text and "Cells that failed" in text
    assert "3 of 40 rows stand in train" in text
    assert "without the rows that stand in training or dev data" in text


def test_one_svg_serves_both_themes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    bodies = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(bodies) > 8
    for body in bodies:
        assert "var(--ink)" in body and "<title>" in body
        assert not any(colour in body for colour in LIGHT.values())
    assert all(f"--{name}: {colour};" in text for name, colour in DARK.items())


def test_figures_and_tables_come_as_files_too(page: Path, table: Table) -> None:
    folder = page.parent / "first-files"
    svgs, pngs = sorted(folder.glob("figures/*.svg")), sorted(folder.glob("figures/*.png"))
    assert [path.stem for path in svgs] == [path.stem for path in pngs]
    assert "summarize-graphs-test-shots-codexglue-sentence-bleu" in {path.stem for path in svgs}
    for path in svgs:
        ElementTree.parse(path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pngs)
    for ending in ("csv", "md", "tex"):
        assert (folder / "tables" / f"summarize-graphs-test.{ending}").is_file()


def test_the_csv_holds_every_digit_of_means_and_intervals(page: Path, table: Table) -> None:
    path = page.parent / "first-files/tables/summarize-graphs-test.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(rows) == len(table.rows)
    metric = table.metrics[0]
    for found, row in zip(rows, table.rows, strict=True):
        estimate = row.metrics[metric]
        assert (found["arm"], found["shots"]) == (row.name, str(row.shots))
        assert float(found[metric]) == estimate.mean
        if estimate.interval:
            assert float(found[f"{metric} low"]) == estimate.interval[0]


def test_links_to_the_other_forms_hold_the_files_themselves(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    name, data = re.findall(
        r'download="(summarize-graphs-test\.csv)" href="data:text/csv;charset=utf-8;base64,([^"]+)',
        text,
    )[0]
    from urllib.parse import unquote

    there = (page.parent / "first-files/tables" / name).read_text(encoding="utf-8")
    assert base64.b64decode(unquote(data)).decode() == there


def test_a_report_made_twice_is_the_same_but_for_its_time(runs: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.html"
        assert write_report([runs / "defects"], out, files=False) == [out]
        text = out.read_text(encoding="utf-8")
        texts.append(re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", text))
    assert texts[0] == texts[1]
    assert not (tmp_path / "a-files").exists()


def test_latex_and_markdown_escape_what_would_be_markup() -> None:
    odd = Grid(
        "odd",
        "50% & more_or_less",
        (Column("a_b|c", False), Column("x")),
        (("", (Cell("p|q_{1}", "p|q_{1}"), Cell(1.5, "−1.50", "[−2, 1]", -2, 1, True))),),
    )
    latex = exports.to_latex(odd)
    assert r"p|q\_\{1\} & \textbf{$-$1.50} {\scriptsize [$-$2, 1]} \\" in latex
    assert latex.startswith("% 50% & more_or_less\n")
    assert r"| p\|q_{1} | **−1.50** [−2, 1] |" in exports.to_markdown(odd)


def test_a_csv_cell_is_never_a_formula() -> None:
    odd = Grid("odd", "", (Column("arm", False),), (("", (Cell("=1+1", "=1+1"),)),))
    assert next(csv.reader(io.StringIO(exports.to_csv(odd).split("\n", 1)[1]))) == ["'=1+1"]


def test_bold_is_the_best_mean_of_its_shots_with_arms_that_need_none(table: Table) -> None:
    metric = table.metrics[0]
    best = grid.leaders(table)[metric]
    for shots in SHOTS:
        rows = [row for row in table.rows if row.shots in (0, shots)]
        top = max(rows, key=lambda row: row.metrics[metric].mean or 0)
        assert id(top) in best
    assert len(best) <= len(SHOTS)


def test_lower_is_better_for_ece(runs: Path) -> None:
    source = read(runs / "defects")
    table = source.tables.tables[0]
    best = grid.leaders(table)["ece"]
    rows = [row for row in table.rows if row.shots in (0, SHOTS[0])]
    assert id(min(rows, key=lambda row: row.metrics["ece"].mean or 9)) in best


def test_findings_call_ties_ties(table: Table) -> None:
    found = {(one.against, one.shots): one.said for one in findings(table)}
    for shots in SHOTS:
        own = [c for c in table.contrasts if c.a == "full" and c.shots == shots]
        said = {one.arm: one.verdict for one in found["full", f"{shots} shots"]}
        assert {c.b: c.winner == "tie" for c in own} == {a: v == "tie" for a, v in said.items()}


def test_examples_go_from_best_to_worst_beside_the_best_of_each_kind(
    first: Source, table: Table
) -> None:
    found = examples(first, table)
    assert found is not None
    groups = [one.group for one in found.found]
    assert groups == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
    worth = [float(one.answers[0].worth) for one in found.found]
    assert worth == sorted(worth, reverse=True)
    assert {one.arm for one in found.found[0].answers} == {found.lead, "full", "hard", "constant"}
    assert len({one.id for one in found.found}) == 9


def test_examples_are_left_out_where_asked_or_where_rows_are_not_kept(
    runs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.html"
    write_report([runs / "second"], out, examples=False, files=False)
    assert "Examples were left out" in out.read_text(encoding="utf-8")
    shutil.copytree(runs / "second", tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/rows")
    write_report([tmp_path / "bare"], out, files=False)
    text = out.read_text(encoding="utf-8")
    assert "There are no examples" in text and "Against full" in text


def test_a_run_that_is_still_going_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    make_run(tmp_path / "run", suite(seeds=2), skips=lambda c: c.seed == 1 or c.shots == 256)
    (tmp_path / "run/tables.json").unlink()
    write_report([tmp_path / "run"], tmp_path / "a.html", files=False)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert re.search(r"\d+ cells have not ended yet", text)
    assert "Not run yet: at 256 shots: constant, soft, lora, full." in text


def test_a_leaderboard_holds_all_arms_of_all_runs_that_answered_the_same_rows(runs: Path) -> None:
    sources = read_all([runs / "first", runs / "second"])
    shared, apart = boards(sources)
    assert {source.label for source, _, _ in shared.entries} == {"first", "second"}
    assert {source.label for source, _, _ in apart.entries} == {"first"}
    rows = leaderboard(shared, 1).rows
    assert len(rows) == len(shared.entries)
    means = [cells[2].value for _, cells in rows]
    assert means == sorted(means, reverse=True)
    assert rows[0][1][4].text == "first"


def test_two_runs_are_set_side_by_side_arm_by_arm(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "both.html"
    write_report([runs / "first", runs / "second"], out)
    (path,) = (tmp_path / "both-files/tables").glob("comparison-*.csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert {row["arm"] for row in rows} >= {"hard", "soft", "full", "constant"}
    for row in rows:
        difference = float(row["B: second"]) - float(row["A: first"])
        assert float(row["B − A"]) == pytest.approx(difference)
        if row["arm"] == "constant":
            assert row["verdict"] == "the same"
        if row["arm"] == "hard":
            assert row["verdict"] == "not tested: one seed"
    text = out.read_text(encoding="utf-8")
    named = re.findall(r'\bid="([^"]+)"', re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
    assert len(named) == len(set(named))


def test_runs_that_share_nothing_are_not_compared(runs: Path, tmp_path: Path) -> None:
    write_report([runs / "second", runs / "defects"], tmp_path / "a.html", files=False)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "share no set of rows" in text and "Leaderboard" not in text


def test_welch_is_scipys() -> None:
    from scipy.stats import ttest_ind

    a, b = [1.0, 2.0, 4.0], [3.0, 5.0, 9.0, 8.0]
    found, theirs = welch(a, b), ttest_ind(b, a, equal_var=False)
    assert found is not None
    low, high = theirs.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, theirs.pvalue))
    assert welch([1.0], b) is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.number(-0.004, 2, sign=True), "+0.00"),
        (numbers.number(-2.1), "−2.10"),
        (numbers.number(None), "–"),
        (numbers.probability(0.0004), "<0.001"),
        (numbers.size(20_480), "20.5 kB"),
        (numbers.seconds(840), "14 min"),
        (
            numbers.estimate(Estimate(mean=0.5, interval=(0.4, 0.6), values=()), "mcc"),
            "0.500 [0.400, 0.600]",
        ),
        (numbers.shots_text("1%"), "1% of the rows"),
    ],
)
def test_numbers_read_as_numbers(shown: str, expected: str) -> None:
    assert shown == expected


def test_mistakes_say_what_to_do(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write_report([runs / "first"], tmp_path / "a.pdf")
    with pytest.raises(DataError, match="holds no benchmark run"):
        write_report([tmp_path], tmp_path / "a.html")
    with pytest.raises(UsageError, match="named twice"):
        write_report([runs / "first", runs / "first"], tmp_path / "a.html")
    with pytest.raises(UsageError, match="There is no run"):
        write_report([], tmp_path / "a.html")
    make_run(tmp_path / "none", suite(seeds=1), skips=lambda cell: True)
    with pytest.raises(DataError, match="holds no result yet"):
        write_report([tmp_path / "none"], tmp_path / "a.html")


def test_the_command_writes_the_page_and_says_where(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.html"
    words = [str(runs / "second"), "--out", str(out), "--no-files", "--json"]
    found = CliRunner().invoke(COMMAND, words)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {"page": str(out), "files": [str(out)]}
    assert out.is_file()
