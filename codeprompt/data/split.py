"""Splits and shots: by group, never by row, and the same on every machine.

The order is that of SHA-256 over the seed and a key, not that of a random generator, so that it
depends neither on the version of Python nor on how the rows happened to be listed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from codeprompt.errors import DataError
from codeprompt.types import Example

EIGHT_ONE_ONE: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}


def hash_order(seed: int, key: str) -> bytes:
    """A sort key: pseudo-random in `key`, fixed by `seed`."""
    return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", errors="surrogatepass")).digest()


def _groups(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """Row numbers by group, groups in the seed's order. A row without a group is its own."""
    grouped: dict[str, list[int]] = defaultdict(list)
    for at, example in enumerate(examples):
        grouped[example.group or f"row {example.id or at}"].append(at)
    return [grouped[key] for key in sorted(grouped, key=lambda key: hash_order(seed, key))]


def split_by_group(
    examples: Sequence[Example], sizes: Mapping[str, float] | Mapping[str, int], seed: int = 0
) -> dict[str, list[Example]]:
    """Parts that share no group, each in the order of `examples`.

    sizes: part to fraction (floats that sum to at most 1) or to a number of rows (ints). Fractions
    are met as nearly as whole groups allow; numbers are met exactly, the rows of a group that
    would be too many being left out. Raises `DataError` where there are too few rows or groups.
    """
    counted = all(isinstance(size, int) for size in sizes.values())
    if not sizes or any(size < 0 for size in sizes.values()):
        raise DataError(f"Split sizes {dict(sizes)} make no sense", expected="sizes above zero")
    if not counted and sum(sizes.values()) > 1 + 1e-9:
        raise DataError(
            f"Split fractions {dict(sizes)} sum to {sum(sizes.values()):g}", expected="at most 1"
        )
    groups = _groups(examples, seed)
    rows = _dealt(groups, sizes, len(examples), counted)
    for name, size in sizes.items():
        if size and len(rows[name]) < (size if counted else 1):
            raise DataError(
                f"{len(examples)} rows in {len(groups)} groups leave {len(rows[name])} rows for "
                f"the part '{name}' of {size:g}",
                do="Ask for less, give more data, or give each split as a file of its own; `eval` "
                "takes them all by --split all",
            )
        if counted:
            rows[name] = rows[name][: int(size)]
    return {name: [examples[at] for at in sorted(part)] for name, part in rows.items()}


def _dealt(
    groups: list[list[int]], sizes: Mapping[str, float], total: int, counted: bool
) -> dict[str, list[int]]:
    """Each group to the part that lacks most rows; the last ones to parts that have none."""
    left = {name: size if counted else size * total for name, size in sizes.items()}
    if not counted and sum(sizes.values()) < 1 - 1e-9:
        left[""] = total - sum(left.values())
    rows: dict[str, list[int]] = {name: [] for name in left}
    for at, group in enumerate(groups):
        empty = [name for name in sizes if left[name] > 0 and not rows[name]]
        few = len(groups) - at <= len(empty)
        name = empty[0] if few else max(left, key=lambda part: left[part])
        if counted and left[name] <= 0:
            break
        rows[name] += group
        left[name] -= len(group)
    rows.pop("", None)
    return rows


def draw(
    examples: Sequence[Example], fraction: float, at_most: int | None = None, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """(drawn, rest): whole groups up to `fraction` of the rows and `at_most` rows.

    Both keep the order of `examples`.
    """
    size = int(fraction * len(examples))
    size = size if at_most is None else min(size, at_most)
    drawn: set[int] = set()
    for group in _groups(examples, seed):
        if len(drawn) + len(group) <= size:
            drawn.update(group)
    inside = [example for at, example in enumerate(examples) if at in drawn]
    return inside, [example for at, example in enumerate(examples) if at not in drawn]


def shots(
    examples: Sequence[Example],
    k: int,
    seed: int,
    *,
    per_class: bool = False,
    classify: bool = False,
) -> list[Example]:
    """`k` examples, drawn anew for each seed, in the seed's order.

    per_class: `k` of each target instead of `k` in total (implies `classify`).
    classify: targets are labels: there must be two at least, and each gets one shot at least.
    Raises `DataError` where `k` is larger than the data or there is only one class.
    """
    if k < 0:
        raise DataError(f"{k} shots", expected="zero or more")
    order = sorted(
        range(len(examples)), key=lambda at: hash_order(seed, f"{at}\0{examples[at].id}")
    )
    if k == 0:
        return []
    if not (per_class or classify):
        _enough(len(examples), k, "examples")
        return [examples[at] for at in order[:k]]
    classes: dict[str, list[int]] = defaultdict(list)
    for at in order:
        classes[examples[at].target].append(at)
    if len(classes) < 2:
        only = f"one class only ('{next(iter(classes))}')" if classes else "no class at all"
        raise DataError(
            f"The training data has {only} in {len(examples)} rows",
            expected="at least two labels to tell apart",
            do="Give data of both classes, or check which column holds the label (--columns)",
        )
    if per_class:
        for label, rows in classes.items():
            _enough(len(rows), k, f"examples of the class '{label}'")
        chosen = {at for rows in classes.values() for at in rows[:k]}
    else:
        _enough(len(examples), k, "examples")
        if k < len(classes):
            raise DataError(
                f"{k} shots cannot show {len(classes)} classes",
                expected=f"at least {len(classes)} shots",
            )
        first = [rows[0] for rows in classes.values()]
        rest = [at for at in order if at not in set(first)]
        chosen = {*first, *rest[: k - len(first)]}
    return [examples[at] for at in order if at in chosen]


def _enough(found: int, k: int, what: str) -> None:
    if k > found:
        raise DataError(
            f"{k} shots were asked for but there are {found} {what}",
            expected=f"at most {found}",
            do="Lower --shots, or give more data",
        )
