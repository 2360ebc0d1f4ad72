"""Bad data: each mistake meets a message with what was found, what was expected, what to do."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from codeprompt.data.sources import load_data
from codeprompt.errors import DataError
from codeprompt.tasks.defect import TASK as DEFECT_TASK
from codeprompt.tasks.summarize import TASK as SUMMARIZE_TASK
from codeprompt.tasks.translate import TASK as TRANSLATE_TASK

GOOD = b'{"code": "f()", "summary": "Do it."}\n'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", r"a\.jsonl is empty"),
        ("a.jsonl", b"\n \n", "holds no rows"),
        ("a.csv", b"code,summary\n", "holds no rows"),
        ("a.json", b"[]", "holds no rows"),
        ("a.jsonl", GOOD + b"{oops\n", r"Line 2 of .*a\.jsonl is not JSON.*one object a line"),
        ("a.jsonl", GOOD + b"[1]\n", r"Line 2 of .* is a JSON list.*an object"),
        ("a.jsonl", GOOD * 2 + b'{"code": "\xff"}', r"Line 3 .* not UTF-8 \(byte 0xff.*iconv"),
        ("a.jsonl", b"\x7fELF\0\0", r"a\.jsonl is binary: line 1 has a NUL byte"),
        ("a.csv", b"code,summary\nf,g,h\n", r"Line 2 .* more cells than the header's 2.*quotes"),
        ("a.csv", b'code,summary\n"f,g\n', r"Line 2 .* is not CSV"),
        ("a.json", b"{}", r"not a list of objects"),
        ("a.json", GOOD * 2, r"is not JSON.*Name it \.jsonl"),
        ("a.parquet", b"PAR1 nothing", r"is not Parquet"),
        ("a.jsonl.xz", lzma.compress(GOOD)[:20], r"cannot be unpacked"),
        ("a.jsonl.gz", b"nothing", r"cannot be unpacked"),
        ("a.txt", b"text", r"no kind of file.*\.jsonl"),
        ("a.jsonl", b'{"code": "", "summary": "x"}\n', r"Row 1 of .* nothing in the column 'code'"),
        ("a.jsonl", GOOD + b'{"code": "f"}\n', r"Row 2 of .*'summary' \(target\).*leave the row"),
    ],
)
def test_a_bad_file_is_named_with_the_line_at_fault(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        load_data(path, SUMMARIZE_TASK.columns)


def test_a_missing_column_is_answered_with_those_there_are_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("cod,sumary\nf(),Do it.\n")
    with pytest.raises(
        DataError, match=r"lacks a column for code.*cod, sumary.*mean 'cod'\?.*--col"
    ):
        load_data(path, SUMMARIZE_TASK.columns)
    with pytest.raises(DataError, match=r"lacks the column 'sumry' \(for target\).*'sumary'\?"):
        load_data(path, SUMMARIZE_TASK.columns, columns={"code": "cod", "target": "sumry"})
    assert load_data(path, SUMMARIZE_TASK.columns, columns={"code": "cod", "target": "sumary"})


def test_an_unknown_label_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"func": "f()", "target": 1}\n{"func": "g()", "target": "maybe"}\n')
    with pytest.raises(
        DataError, match=r"Row 2 of .* has the label 'maybe'.*one of: 0, 1.*target="
    ):
        load_data(path, DEFECT_TASK.columns)


def test_texts_of_different_length_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.java").write_text("a\nb\nc\n")
    (tmp_path / "train.cs").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"2 lines \(\.cs\) and 3 lines \(\.java\)"):
        load_data(tmp_path, TRANSLATE_TASK.columns)


def test_a_place_that_does_not_exist_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data at org/name.*Write hub:org/name"):
        load_data("org/name", SUMMARIZE_TASK.columns)
    with pytest.raises(DataError, match=r"no data at .*Check the path"):
        load_data(tmp_path / "deep" / "er" / "none", SUMMARIZE_TASK.columns)
    with pytest.raises(DataError, match=r"no kind of folder.*source tree"):
        load_data(tmp_path, SUMMARIZE_TASK.columns)
    with pytest.raises(DataError, match=r"names no data set.*hub:ID"):
        load_data("hub:", SUMMARIZE_TASK.columns)


def test_a_file_of_ten_megabytes_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    line = json.dumps({"code": "x = 1\n" * 100, "summary": "Set x to one."}) + "\n"
    path.write_text(line * (10_000_000 // len(line) + 1))
    assert path.stat().st_size > 10_000_000
    assert len(load_data(path, SUMMARIZE_TASK.columns, split="test")) == 10_000_000 // len(line) + 1


def test_a_source_file_alone_has_too_few_files_to_split(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('def f(x):\n    """Add one to x."""\n    return x + 1\n')
    assert load_data(path, SUMMARIZE_TASK.columns)[0].target == "Add one to x."
    with pytest.raises(DataError, match=r"1 rows in 1 groups leave 0 rows.*file of its own"):
        load_data(path, SUMMARIZE_TASK.columns, split="test")
