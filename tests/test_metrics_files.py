"""Reading predictions and references from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.errors import DataError
from codeprompt.metrics.base import Item
from codeprompt.metrics.files import read_answers, read_items


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_one_item_stands_on_each_line_and_an_empty_line_is_an_empty_item(tmp_path: Path) -> None:
    predictions = written(tmp_path / "p.txt", "one\n\nthree  \n")
    references = written(tmp_path / "r.txt", "eins\r\nzwei\r\ndrei")
    assert read_items(predictions, references, "generate") == [
        Item("one", ("eins",)),
        Item("", ("zwei",)),
        Item("three  ", ("drei",)),
    ]


def test_form_feeds_and_unicode_separators_do_not_end_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "p.txt", "a\x0cb\x1cc\u2028d\x85e\nf\n")
    assert [answer.texts[0] for answer in read_answers(path, "generate")] == [
        "a\x0cb\x1cc\u2028d\x85e",
        "f",
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_item(tmp_path: Path) -> None:
    path = written(tmp_path / "p.txt", b"\xef\xbb\xbfone\n")
    assert read_answers(path, "generate")[0].texts == ("one",)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n\0\ufeff", codec="utf-8")), min_size=1)
)
def test_every_list_of_lines_reads_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "p.txt"
    written(path, "".join(line + "\n" for line in lines))
    assert [answer.texts[0] for answer in read_answers(path, "generate")] == lines


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".JSONL"])
def test_json_lines_hold_text_label_and_score(tmp_path: Path, suffix: str) -> None:
    predictions = written(
        tmp_path / f"p{suffix}",
        '{"label": 1, "score": 0.9, "text": "int f;"}\n\n{"label": "0", "score": 0}\n',
    )
    references = written(tmp_path / "r.txt", "1\n0\n")
    assert read_items(predictions, references, "classify") == [
        Item("1", ("1",), 0.9),
        Item("0", ("0",), 0.0),
    ]
    assert read_answers(predictions, "generate")[0].texts == ("int f;",)


def test_a_reference_may_hold_several_texts_and_a_prediction_may_not(tmp_path: Path) -> None:
    several = written(tmp_path / "r.jsonl", '{"text": ["a", "b"]}\n')
    one = written(tmp_path / "p.txt", "a\n")
    assert read_items(one, several, "generate")[0].references == ("a", "b")
    with pytest.raises(DataError, match=r"r\.jsonl line 1 holds 2 texts"):
        read_items(several, one, "generate")


def test_different_numbers_of_lines_are_refused_with_both(tmp_path: Path) -> None:
    predictions = written(tmp_path / "p.txt", "a\nb\n")
    references = written(tmp_path / "r.txt", "a\nb\nc\n")
    with pytest.raises(DataError, match=r"p\.txt has 2 items and .*r\.txt has 3"):
        read_items(predictions, references, "generate")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"", "p.txt is empty"),
        ("p.jsonl", b"", "p.jsonl is empty"),
        ("p.jsonl", b"\n \n", "p.jsonl is empty"),
        ("p.txt", b"good\nbad \xff\n", "not UTF-8: byte 0xff in line 2"),
        ("p.txt", b"\x7fELF\x00\x00", "not text: it holds NUL bytes"),
        ("p.jsonl", b'{"text": "a"}\n{"text": 3}\n', r"line 2: Expected .* got `int`"),
        ("p.jsonl", b'{"text": "a"', "line 1: .*truncated.*Expected an object"),
        ("p.jsonl", b"plain text\n", "line 1: JSON is malformed"),
        ("p.jsonl", b'{"txt": "a"}\n', 'line 1 has neither "text" nor "label"'),
        ("p.jsonl", b'{"text": []}\n', 'line 1 has neither "text" nor "label"'),
        ("p.jsonl", b'{"text": "a", "score": "high"}\n', r"line 1: .*\$\.score"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_answers(written(tmp_path / name, content), "generate")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt cannot be read: No such file"):
        read_answers(tmp_path / "none.txt", "generate")
    with pytest.raises(DataError, match="cannot be read"):
        read_answers(tmp_path, "generate")
