"""Loading: the hub's columns from any kind of file or folder, and the rules for splits."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from codeprompt.data.base import Columns
from codeprompt.data.fingerprint import fingerprint
from codeprompt.data.sources import load_data, open_source
from codeprompt.errors import DataError, UsageError
from codeprompt.languages.functions import is_spaced
from codeprompt.registry import TASKS

DEFECT, SUMMARIZE, TRANSLATE = (
    TASKS.get(name).columns for name in ("defect", "summarize", "translate")
)

ROWS = [
    {"id": at, "func": f"int f{at}(void) {{ return {at}; }}", "target": bool(at % 2)}
    for at in range(40)
]


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("folder", "columns", "splits"),
    [
        ("csn_python", SUMMARIZE, {"valid": 1869, "test": 2519}),
        ("csn_java", SUMMARIZE, {"valid": 1005, "test": 4254}),
        ("devign", DEFECT, {"nontest": 24586, "test": 2732}),
        ("codetrans", TRANSLATE, {"train": 10295, "valid": 499, "test": 1000}),
    ],
)
def test_real_folders_hold_the_published_numbers_of_rows(
    shared_data: Path, folder: str, columns: Columns, splits: dict[str, int]
) -> None:
    source = open_source(shared_data / folder, columns)
    assert set(source.parts) == set(splits)
    assert len(source.split("test")) == splits["test"]
    dev, train = source.split("valid"), source.split("train")
    pool = [name for name in ("nontest", "train", "valid") if name in splits]
    expected = splits["train"] + splits["valid"] if "train" in splits else splits[pool[0]]
    assert len(dev) + len(train) == expected
    if "train" in splits:
        assert (len(train), len(dev)) == (splits["train"], splits["valid"])
    else:
        assert not {e.group for e in train} & {e.group for e in dev}
    assert len({e.id for e in train + dev}) == expected


def test_codesearchnet_without_train_gives_shots_and_dev_from_valid(shared_data: Path) -> None:
    source = open_source(shared_data / "csn_python", SUMMARIZE)
    dev, train = source.split("valid"), source.split("train")
    assert 340 < len(dev) <= 400 and len(dev) <= 0.2 * 1869
    with lzma.open(shared_data / "csn_python" / "valid.jsonl.xz", "rt", encoding="utf-8") as file:
        row = json.loads(next(file))
    (same,) = [e for e in dev + train if e.fields["raw_code"] == row["code"]]
    assert same.fields["code"] == " ".join(" ".join(row["code_tokens"]).split())
    assert same.target == " ".join(row["docstring_tokens"])
    assert same.fields["language"] == "python" and same.fields["name"] == row["func_name"]
    assert same.group == f"{row['repo']}/{row['path']}"


def test_devign_labels_language_and_positive_share_are_the_published_ones(
    shared_data: Path,
) -> None:
    source = open_source(shared_data / "devign", DEFECT)
    test = source.split("test")
    counts = Counter(example.target for example in test)
    assert round(100 * counts["defective"] / len(test), 2) == 45.94
    assert set(counts) == {"clean", "defective"}
    assert {e.fields["language"] for e in test} == {"c"}
    assert {e.fields["project"] for e in test} == {"FFmpeg", "qemu"}
    lines = [e.fields["code"] for e in test if "\n" in e.fields["code"].strip()]
    assert len(lines) > 2700 and all(is_spaced(code) for code in lines)  # no label in the layout
    dev = source.split("valid")
    assert 2400 < len(dev) <= 2458
    assert fingerprint(dev) == fingerprint(load_data(shared_data / "devign", DEFECT, split="valid"))


def test_codetrans_is_read_in_either_direction(shared_data: Path) -> None:
    there = load_data(shared_data / "codetrans", TRANSLATE, split="valid", limit=3)
    turned = {"code": "cs", "target": "java"}
    back = load_data(shared_data / "codetrans", TRANSLATE, split="valid", columns=turned, limit=3)
    assert [e.fields["code"] for e in there] == [e.target for e in back]
    assert [e.target for e in there] == [e.fields["code"] for e in back]
    assert (there[0].fields["language"], there[0].fields["target_language"]) == ("java", "c-sharp")
    assert (back[0].fields["language"], back[0].fields["target_language"]) == ("c-sharp", "java")


def test_every_kind_of_file_gives_the_same_examples(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    plain = _jsonl(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "rows.jsonl.xz").write_bytes(lzma.compress(plain.read_bytes()))
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    Dataset.from_list(ROWS).to_parquet(str(tmp_path / "rows.parquet"))
    DatasetDict({"test": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "hub").mkdir()
    Dataset.from_list(ROWS).to_parquet(str(tmp_path / "hub" / "test-00000-of-00001.parquet"))
    expected = [(e.fields, e.target, e.group) for e in load_data(plain, DEFECT)]
    assert [target for _, target, _ in expected] == ["clean", "defective"] * 20
    for name in ("jsonl.gz", "jsonl.xz", "json", "csv", "parquet"):
        examples = load_data(tmp_path / f"rows.{name}", DEFECT)
        assert [(e.fields, e.target, e.group) for e in examples] == expected, name
    for where in (tmp_path / "saved", tmp_path / "hub", f"hub:{tmp_path / 'hub'}"):
        examples = load_data(where, DEFECT, split="test")
        assert [(e.fields, e.target, e.group) for e in examples] == expected, where


def test_a_file_that_names_no_split_is_parted_eight_to_one_to_one(tmp_path: Path) -> None:
    source = open_source(_jsonl(tmp_path / "rows.jsonl", ROWS), DEFECT)
    sizes = [len(source.split(name)) for name in ("train", "valid", "test", "all")]
    assert sizes == [32, 4, 4, 40]


def test_a_file_named_after_a_split_is_that_split_and_its_neighbours_the_others(
    tmp_path: Path,
) -> None:
    test = _jsonl(tmp_path / "test.jsonl", ROWS[:7])
    with pytest.raises(DataError, match=r"has no train split; it has: test.*--split"):
        load_data(test, DEFECT, split="train")
    _jsonl(tmp_path / "train.jsonl", ROWS[7:])
    source = open_source(test, DEFECT)
    assert [len(source.split(name)) for name in ("train", "valid", "test")] == [30, 3, 7]
    _jsonl(tmp_path / "dev.jsonl", ROWS[:5])
    source = open_source(tmp_path, DEFECT)
    assert [len(source.split(name)) for name in ("train", "validation", "test")] == [33, 5, 7]


def test_shards_are_joined_and_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    _jsonl(tmp_path / "train-00000-of-00002.jsonl", ROWS[:7])
    _jsonl(tmp_path / "train-00001-of-00002.jsonl", ROWS[7:])
    source = open_source(tmp_path, DEFECT)
    assert len(source.split("train")) + len(source.split("valid")) == 40
    _jsonl(tmp_path / "train_other.jsonl", ROWS)
    with pytest.raises(DataError, match=r"several files for the split 'train'.*train_other"):
        open_source(tmp_path, DEFECT)


def test_two_texts_are_paired_line_by_line_whatever_signs_they_hold(tmp_path: Path) -> None:
    (tmp_path / "x.java").write_text("int a;\u2028\x0c b\nint c;\n", encoding="utf-8")
    (tmp_path / "x.cs").write_text("int A;\nint C;", encoding="utf-8")
    (tmp_path / "x.java").write_bytes((tmp_path / "x.java").read_bytes().rstrip(b"\n"))
    (tmp_path / "y.java").write_text("a\n")
    examples = load_data(tmp_path / "x.java", TRANSLATE)
    assert [e.target for e in examples] == ["int A;", "int C;"]
    assert examples[0].fields["code"] == "int a;\u2028\x0c b"


def test_a_source_tree_is_harvested_and_split_by_file(tmp_path: Path) -> None:
    for at in range(10):
        text = "".join(
            f'def f{at}_{i}(x{i}):\n    """Compute the value number {at * 10 + i}."""\n'
            f"    return g{at}(x{i}) + h{i}(x{i}, {at}) - k{at}_{i} * j{i * at}[x{i}]\n\n"
            for i in range(4)
        )
        (tmp_path / f"m{at}.py").write_text(text)
    source = open_source(tmp_path, SUMMARIZE)
    parts = {name: source.split(name) for name in ("train", "valid", "test")}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 32,
        "valid": 4,
        "test": 4,
    }
    assert len({e.fields["path"] for e in parts["test"]}) == 1
    assert parts["train"][0].fields["raw_code"] == parts["train"][0].fields["code"]
    with pytest.raises(DataError, match=r"lacks a column for the target.*it has: .*summary"):
        load_data(tmp_path, DEFECT)


def test_a_users_columns_win_and_new_fields_are_added(tmp_path: Path) -> None:
    rows = [{"body": "x = 1", "text": "Set x.", "code": "no", "level": 3, "lang": "PY"}]
    path = _jsonl(tmp_path / "rows.jsonl", rows)
    wanted = {"code": "body", "target": "text", "difficulty": "level"}
    (example,) = load_data(path, SUMMARIZE, columns=wanted)
    assert example.fields["code"] == example.fields["raw_code"] == "x = 1"
    assert (example.target, example.fields["difficulty"]) == ("Set x.", "3")
    assert example.fields["language"] == "python"


def test_equal_code_has_one_group_where_no_column_gives_one(tmp_path: Path) -> None:
    rows = [
        {"func": "f()", "target": 0},
        {"func": "f()", "target": 1},
        {"func": "g()", "target": 0},
    ]
    one, two, three = load_data(_jsonl(tmp_path / "rows.jsonl", rows), DEFECT)
    assert one.group == two.group != three.group and len({one.id, two.id, three.id}) == 3


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "test.jsonl", ROWS)
    whole = load_data(path, DEFECT, split="test")
    assert load_data(path, DEFECT, split="test", limit=3) == whole[:3]
    with pytest.raises(UsageError, match="limit of 0"):
        load_data(path, DEFECT, limit=0)
    with pytest.raises(UsageError, match=r"Unknown split 'tset'.*train, valid, test or all"):
        load_data(path, DEFECT, split="tset")


def test_a_hub_data_set_without_a_network_is_a_clear_error() -> None:
    program = (
        "from codeprompt.tasks.summarize import TASK\n"
        "SUMMARIZE = TASK.columns\n"
        "from codeprompt.data.sources import load_data\n"
        "from codeprompt.errors import DataError\n"
        "try:\n    load_data('hub:nobody/no-such-data-set', SUMMARIZE)\n"
        "except DataError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be fetched from the Hugging Face hub" in done.stdout
    assert "give a file or a folder with the same columns" in done.stdout


def test_the_data_layer_is_imported_without_torch_or_datasets() -> None:
    program = (
        "import sys, codeprompt.data.sources, codeprompt.data.harvest, codeprompt.data.dedupe\n"
        "heavy = {'torch', 'datasets', 'numpy', 'pyarrow', 'transformers', 'tree_sitter'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
