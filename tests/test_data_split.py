"""Splits by group, shots by seed, fingerprints."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeprompt.data.fingerprint import fingerprint
from codeprompt.data.split import draw, shots, split_by_group
from codeprompt.errors import DataError
from codeprompt.types import Example


def _rows(groups: list[int]) -> list[Example]:
    return [
        Example({"code": f"c{at}"}, target="ab"[at % 2], id=f"r{at}", group=f"g{group}")
        for at, group in enumerate(groups)
    ]


ROWS = _rows([at // 5 for at in range(500)])


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(st.integers(0, 30), min_size=10, max_size=200), seed=st.integers(0, 9))
def test_no_group_falls_into_two_parts_and_no_row_is_lost(groups: list[int], seed: int) -> None:
    rows = _rows(groups)
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="groups leave 0 rows"):
            split_by_group(rows, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
        return
    parts = split_by_group(rows, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
    assert sorted(row.id for part in parts.values() for row in part) == sorted(r.id for r in rows)
    names = [{row.group for row in part} for part in parts.values()]
    assert sum(map(len, names)) == len(set.union(*names)) and all(names)


def test_fractions_are_met_as_nearly_as_groups_allow() -> None:
    parts = split_by_group(ROWS, {"train": 0.8, "valid": 0.1, "test": 0.1})
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes == {"train": 400, "valid": 50, "test": 50}
    assert len(split_by_group(ROWS, {"test": 0.3})["test"]) == 150


def test_numbers_of_rows_are_met_exactly() -> None:
    parts = split_by_group(ROWS, {"train": 64, "test": 203})
    assert {name: len(part) for name, part in parts.items()} == {"train": 64, "test": 203}
    assert not {row.group for row in parts["train"]} & {row.group for row in parts["test"]}
    with pytest.raises(DataError, match=r"500 rows in 100 groups leave \d+ rows.*'[ab]' of 300"):
        split_by_group(ROWS, {"a": 300, "b": 300})


def test_a_split_is_the_same_each_time_and_another_for_another_seed() -> None:
    first = split_by_group(ROWS, {"train": 0.8, "test": 0.2}, seed=1)
    assert first == split_by_group(list(ROWS), {"train": 0.8, "test": 0.2}, seed=1)
    assert first != split_by_group(ROWS, {"train": 0.8, "test": 0.2}, seed=2)


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match=r"sum to 1\.2"):
        split_by_group(ROWS, {"train": 0.8, "test": 0.4})
    with pytest.raises(DataError, match="make no sense"):
        split_by_group(ROWS, {"train": -0.1})


def test_drawing_takes_whole_groups_up_to_a_share_and_a_number() -> None:
    drawn, rest = draw(ROWS, 0.2)
    assert (len(drawn), len(rest)) == (100, 400)
    assert not {row.group for row in drawn} & {row.group for row in rest}
    assert len(draw(ROWS, 0.2, at_most=42)[0]) == 40


def test_shots_are_resampled_per_seed_and_repeat_for_one() -> None:
    assert shots(ROWS, 16, seed=3) == shots(ROWS, 16, seed=3)
    assert {row.id for row in shots(ROWS, 16, 3)} != {row.id for row in shots(ROWS, 16, 4)}
    assert len({row.id for row in shots(ROWS, 500, 0)}) == 500
    assert shots(ROWS, 0, 0) == []


def test_shots_per_class_are_equal_and_a_total_shows_every_class() -> None:
    chosen = shots(ROWS, 8, 0, per_class=True)
    assert sorted(row.target for row in chosen) == ["a"] * 8 + ["b"] * 8
    rare = [*[replace(row, target="a") for row in ROWS[:300]], replace(ROWS[301], target="b")]
    chosen = shots(rare, 5, 0, classify=True)
    assert len(chosen) == 5 and {row.target for row in chosen} == {"a", "b"}


def test_more_shots_than_data_are_refused() -> None:
    with pytest.raises(DataError, match=r"501 shots.*there are 500 examples.*at most 500.*--shots"):
        shots(ROWS, 501, 0)
    with pytest.raises(DataError, match=r"251 shots.*250 examples of the class '[ab]'"):
        shots(ROWS, 251, 0, per_class=True)
    with pytest.raises(DataError, match="1 shots cannot show 2 classes"):
        shots(ROWS, 1, 0, classify=True)
    with pytest.raises(DataError, match="zero or more"):
        shots(ROWS, -1, 0)


@pytest.mark.parametrize("per_class", [True, False])
def test_one_class_only_is_refused(per_class: bool) -> None:
    rows = [row for row in ROWS if row.target == "a"]
    with pytest.raises(DataError, match=r"one class only \('a'\).*two labels.*--columns"):
        shots(rows, 4, 0, per_class=per_class, classify=True)


def test_a_fingerprint_tells_every_change_and_the_order() -> None:
    base = fingerprint(ROWS)
    assert base == fingerprint(iter(ROWS)) and len(base) == 64
    changed = [
        [replace(ROWS[0], target="c"), *ROWS[1:]],
        [replace(ROWS[0], id="c"), *ROWS[1:]],
        [replace(ROWS[0], fields={"code": "c0", "x": ""}), *ROWS[1:]],
        [replace(ROWS[0], fields={"cod": "ec0"}), *ROWS[1:]],
        ROWS[::-1],
        ROWS[1:],
    ]
    assert len({base, *map(fingerprint, changed)}) == 1 + len(changed)
