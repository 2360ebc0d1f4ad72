"""Rows of a benchmark: pools, fixed test rows, parts of a data set, overlap, pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeprompt.bench.audit import audit, overlapping_rows
from codeprompt.bench.data import count_of, evaluation_rows, locate, pool, rows_key
from codeprompt.bench.pairs import pair_scores, paired
from codeprompt.bench.suite import DataSpec, EvaluationSpec
from codeprompt.errors import DataError
from codeprompt.metrics.base import Item
from codeprompt.registry import TASKS
from codeprompt.types import Example
from tests.benching import functions, jsonl

TEST = EvaluationSpec(name="test", rows=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two data sets: functions of two projects, and defects with a pair."""
    for name, start, count in (("train", 0, 3), ("valid", 50, 1), ("test", 80, 2)):
        rows: list[dict[str, Any]] = [
            {**row, "repo": "a" if at % 2 else "b", "path": f"{name}/{at // 2}.py"}
            for at, row in enumerate(functions(start, count))
        ]
        jsonl(tmp_path / "functions" / f"{name}.jsonl", rows)
    return tmp_path


SPEC = DataSpec(name="functions", task="summarize", path=("functions",))


def test_parts_of_a_data_set_are_cut_by_field(root: Path) -> None:
    """Only one project, all but one; nothing left is an error."""
    only = pool(replace(SPEC, only={"repo": ("a",)}), "train", root)
    rest = pool(replace(SPEC, without={"repo": ("a",)}), "train", root)
    assert len(only) == len(rest) == 12
    assert {row.fields["repo"] for row in only} == {"a"}
    with pytest.raises(DataError, match=r"no rows for 'train'.*only"):
        pool(replace(SPEC, only={"repo": ("c",)}), "train", root)


def test_one_split_can_be_cut_into_all_three(root: Path) -> None:
    """By file: no file in two of them, always the same."""
    spec = replace(SPEC, cut="train")
    parts = {name: pool(spec, name, root) for name in ("train", "valid", "test")}
    groups = [{row.group for row in rows} for rows in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) and all(groups)
    assert parts["test"] == pool(spec, "test", root)
    assert all(row.id.startswith("train:") for rows in parts.values() for row in rows)


def test_several_data_sets_are_read_as_one(root: Path) -> None:
    """With ids that stay unlike."""
    rows = pool(replace(SPEC, path=("functions", "functions")), "test", root)
    assert len(rows) == 32 and len({row.id for row in rows}) == 32


def test_test_rows_are_drawn_once_for_all(root: Path) -> None:
    """The same for every cell; a number above what there is takes all."""
    some = EvaluationSpec(name="test", rows=5)
    first, changed = evaluation_rows(some, SPEC, root)
    assert len(first) == 5 and changed == 0
    assert first == evaluation_rows(some, SPEC, root)[0]
    assert len(evaluation_rows(replace(some, rows=999), SPEC, root)[0]) == 16
    assert rows_key(some, SPEC) == rows_key(replace(some, name="other"), SPEC)
    assert rows_key(some, SPEC) != rows_key(replace(some, rows=6), SPEC)


def test_a_transformation_changes_rows_but_not_which(root: Path) -> None:
    """Ids and references are those of the plain evaluation."""
    plain, _ = evaluation_rows(TEST, SPEC, root)
    rows, changed = evaluation_rows(replace(TEST, transform="rename-locals"), SPEC, root)
    assert changed == len(rows) == len(plain)
    assert [(r.id, r.target) for r in rows] == [(r.id, r.target) for r in plain]
    assert all(a.fields["code"] != b.fields["code"] for a, b in zip(rows, plain, strict=True))


def test_a_share_of_the_pool_is_a_number_of_shots(root: Path) -> None:
    """At least one."""
    rows = pool(SPEC, "train", root)
    assert (count_of("25%", rows), count_of("1%", rows), count_of(7, rows)) == (6, 1, 7)


def test_data_is_found_by_folder_package_or_hub(root: Path) -> None:
    """What cannot be is said with what to give."""
    assert locate("functions", root) == str(root / "functions")
    assert locate("hub:owner/name", None) == "hub:owner/name"
    assert Path(locate("package:networkx", None), "__init__.py").is_file()
    with pytest.raises(DataError, match=r"no data at .*nothing.*--data"):
        locate("nothing", root)
    with pytest.raises(DataError, match="no package 'not_there'"):
        locate("package:not_there", None)


def test_the_audit_counts_duplicates_within_and_across(root: Path) -> None:
    """With fingerprints of every part, and the ids that scores leave out."""
    rows = functions(80, 2)
    copied = {**functions(0, 1)[2], "code": functions(0, 1)[2]["code"].replace(" ", "  ")}
    jsonl(root / "other" / "train.jsonl", functions(0, 3))
    jsonl(root / "other" / "valid.jsonl", functions(50, 1))
    jsonl(root / "other" / "test.jsonl", [*rows, rows[0], copied])
    spec = replace(SPEC, name="other", path=("other",), notes=("A trap.",))
    report = audit(spec, [TEST], root)
    assert report.parts == {"train": 24, "dev": 8, "test": 18}
    assert report.inner["test"] == 1 and report.inner["train"] == 0
    assert report.overlapping["test"] == {"test:17": "exact"}
    assert {(o.part, o.other, o.exact, o.near) for o in report.across} == {
        ("dev", "train", 0, 0),
        ("test", "train + dev", 1, 1),
    }
    assert report.notes == ("A trap.",) and report.both_labels is None
    assert set(report.fingerprints) == set(report.parts)
    assert audit(spec, [TEST], root) == report  # from the cache, the same


def test_nearly_equal_code_counts_as_near() -> None:
    """Jaccard 0.8 of five-token shingles; white space is nothing."""
    long = " ".join(f"a{i} = b{i} + {i};" for i in range(40))
    rows = [
        Example({"code": long.replace(" ", "\n")}, id="same"),
        Example({"code": long.replace("a7 ", "c7 ")}, id="like"),
        Example({"code": long[: len(long) // 2]}, id="half"),
    ]
    assert overlapping_rows([long], rows) == {"same": "exact", "like": "near"}
    assert overlapping_rows([], rows) == {}


def test_the_form_that_a_suite_claims_is_checked(root: Path) -> None:
    """Joined tokens and source text are told apart where the data holds both."""
    rows = [{**r, "code_tokens": r["code"].split()} for r in functions(0, 3)]
    for name in ("train", "valid", "test"):
        jsonl(root / "both" / f"{name}.jsonl", rows)
    spec = replace(SPEC, name="both", path=("both",))
    assert audit(replace(spec, form="tokens"), [], root).form == "tokens"
    with pytest.raises(DataError, match=r"gives code as tokens.*form = 'text'"):
        audit(spec, [], root)
    assert audit(replace(spec, columns={"code": "code"}), [], root).form == "text"


def labelled(name: str, body: str, target: str, project: str = "p") -> Example:
    code = f"int {name}(int *p)\n{{\n{body}    return *p;\n}}\n"
    return Example({"code": code, "project": project}, target, f"{name}-{target}-{project}")


BODY = "".join(f"    x{i} = p[{i}] + {i};\n" for i in range(20))
PAIRED = [
    labelled("f", BODY, "defective"),
    labelled("f", "    if (!p) return 0;\n" + BODY, "clean"),
    labelled("g", BODY, "clean"),
    labelled("f", BODY, "clean", "other"),
    labelled("h", BODY, "defective"),
    labelled("h", BODY, "clean"),
]


def test_pairs_are_like_functions_of_one_name_with_opposite_labels() -> None:
    """Equal texts are label noise, not a fix; another project's function is no pair."""
    rows = paired(PAIRED)
    assert [row.id for row in rows] == ["f-defective-p", "f-clean-p"]
    assert {row.fields["pair"] for row in rows} == {"0"}
    with pytest.raises(DataError, match="No function stands beside its fix"):
        paired(PAIRED[2:4])


def test_paired_rows_can_be_kept_out_of_training(tmp_path: Path) -> None:
    """So that both of a pair are new; a number of rows is half as many pairs."""

    def row(name: str, extra: str, target: int) -> dict[str, Any]:
        code = f"int {name}(int *p)\n{{\n{extra}{BODY}    return *p;\n}}\n"
        return {"func": code, "target": target, "project": "p", "language": "c"}

    names = [f"f{number}" for number in range(6)]
    jsonl(tmp_path / "d" / "train.jsonl", [row(n, "", at % 2) for at, n in enumerate(names)])
    jsonl(tmp_path / "d" / "valid.jsonl", [row(f"v{at}", "", at % 2) for at in range(4)])
    fixes = [row(n, "    if (!p) return 0;\n", 1 - at % 2) for at, n in enumerate(names[:3])]
    jsonl(tmp_path / "d" / "test.jsonl", fixes)
    spec = DataSpec(name="d", task="defect", path=("d",), unpaired=True)
    assert [r.id for r in pool(spec, "train", tmp_path)] == ["train:3", "train:4", "train:5"]
    assert len(pool(spec, "valid", tmp_path)) == 4 and len(pool(spec, "test", tmp_path)) == 3
    whole = EvaluationSpec(name="pairs", split="all", pairs=True, rows=0)
    rows, _ = evaluation_rows(whole, spec, tmp_path)
    assert {r.id for r in rows[:2]} == {"train:0", "test:0"} and len(rows) == 6
    some, _ = evaluation_rows(replace(whole, rows=4), spec, tmp_path)
    assert len(some) == 4 and {r.fields["pair"] for r in some} == {"0", "1"}


def test_pairs_are_scored_as_primevul_does() -> None:
    """Both right, both defective, both clean, both wrong; and by order alone."""
    rows = [row for n in range(4) for row in (
        Example({"code": "a", "pair": str(n)}, "defective"),
        Example({"code": "b", "pair": str(n)}, "clean"),
    )]  # fmt: skip
    said = [("defective", 0.9), ("clean", 0.1), ("defective", 0.9), ("defective", 0.8),
            ("clean", 0.2), ("clean", 0.2), ("clean", 0.1), ("defective", 0.6)]  # fmt: skip
    items = [Item(text, (row.target,), p) for (text, p), row in zip(said, rows, strict=True)]
    order, correct = pair_scores(rows, items, TASKS.get("defect"))
    assert correct.parts == {"P-C": 25.0, "P-V": 25.0, "P-B": 25.0, "P-R": 25.0}
    assert correct.value == 25.0 and correct.n == 4
    assert order.value == 100 * 2.5 / 4
