"""The rows of a cell: the pools it draws from, and the fixed rows it is scored on.

Rows of a test split are fixed by the suite alone: the same for every arm, number of shots and seed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from codeprompt.bench.cell import as_plain
from codeprompt.bench.pairs import pair_places, paired
from codeprompt.bench.suite import DataSpec, EvaluationSpec, Shots
from codeprompt.data.hub import HUB
from codeprompt.data.sources import open_source
from codeprompt.data.split import shots as draw
from codeprompt.data.split import split_by_group
from codeprompt.errors import DataError
from codeprompt.registry import TASKS
from codeprompt.types import Example

PACKAGE = "package:"
CUT = {"train": 0.5, "valid": 0.2, "test": 0.3}
DRAWN_WITH = 0
"""The seed of what is drawn once: fixed test rows, the parts of a split that is cut."""


def locate(path: str, root: Path | None) -> str:
    """Where a data set's path lies: a hub id, an installed package's folder, or under `root`.

    Raises `DataError` where it cannot be.
    """
    if path.startswith(HUB):
        return path
    if path.startswith(PACKAGE):
        name = path.removeprefix(PACKAGE)
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise DataError(f"There is no package '{name}' in this Python", do="Install it")
        return next(iter(spec.submodule_search_locations))
    found = Path(path).expanduser()
    if not found.is_absolute() and root is not None:
        found = root / found
    if not found.exists():
        raise DataError(
            f"There is no data at {found}",
            expected=f"'{path}' in the folder of --data",
            do="Give the folder that holds the suite's data sets with --data",
        )
    return str(found)


def is_there(spec: DataSpec, root: Path | None) -> bool:
    """Whether every path of the data set can be found."""
    try:
        for path in spec.path:
            locate(path, root)
    except DataError:
        return False
    return True


def pool(spec: DataSpec, part: str, root: Path | None) -> list[Example]:
    """The rows of `train`, `valid` or `test`, as the data set is cut by `only` and `without`.

    Raises `DataError` where the data is missing or nothing is left.
    """
    source = json.dumps(as_plain(_source_of(spec)))
    whole = _read(source, spec.cut or part, root)
    rows = [_filled(row, spec) for row in whole if _wanted(row, spec)]
    if spec.unpaired and part in ("train", "valid"):
        rows = [row for row in rows if row.id not in _paired_ids(source, root)]
    if spec.cut and rows:
        rows = split_by_group(rows, CUT, seed=DRAWN_WITH)[part]
    if not rows:
        raise DataError(
            f"The data '{spec.name}' has no rows for '{part}'",
            expected="at least one",
            do="Check its `only` and `without`" if spec.only or spec.without else "",
        )
    return rows


def evaluation_rows(
    spec: EvaluationSpec, own: DataSpec, root: Path | None
) -> tuple[list[Example], int]:
    """The rows of an evaluation and how many of them its transformation changed."""
    from codeprompt.bench.registries import TRANSFORMS

    rows = plain_rows(spec, own, root)
    if not spec.transform:
        return rows, 0
    transform = TRANSFORMS.get(spec.transform)
    out = [transform.applied(row, seed=DRAWN_WITH) for row in rows]
    return out, sum(new != old for new, old in zip(out, rows, strict=True))


def plain_rows(spec: EvaluationSpec, own: DataSpec, root: Path | None) -> list[Example]:
    """The same rows before any transformation."""
    rows = pool(spec.data or own, spec.split, root)
    if spec.pairs:
        rows = paired(rows, spec.rows, seed=DRAWN_WITH)
    elif 0 < spec.rows < len(rows):
        rows = draw(rows, spec.rows, seed=DRAWN_WITH)
    return rows


def rows_key(spec: EvaluationSpec, own: DataSpec) -> str:
    """The name of an evaluation's rows: equal keys, equal rows."""
    plain = as_plain(replace(spec, name="", data=spec.data or own))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def count_of(shots: Shots, rows: Sequence[Example]) -> int:
    """Shots as a number: `1%` is of the pool, and at least one."""
    if isinstance(shots, int):
        return shots
    return max(1, round(float(shots.removesuffix("%")) / 100 * len(rows)))


def drawn(
    spec: DataSpec, shots: Shots, dev: int, seed: int, root: Path | None
) -> tuple[list[Example], list[Example]]:
    """The shots and dev rows of a seed: what every tuned arm sees (`training.setup`)."""
    task = TASKS.get(spec.task)
    train, rows = pool(spec, "train", root), pool(spec, "valid", root)
    count = count_of(shots, train)
    chosen = draw(train, count, seed, classify=task.kind == "classify") if count else train
    return chosen, draw(rows, dev, seed) if 0 < dev < len(rows) else rows


def _source_of(spec: DataSpec) -> DataSpec:
    """What decides the rows that are read, before they are cut."""
    return DataSpec(name="", task=spec.task, path=spec.path, columns=spec.columns)


@functools.lru_cache(maxsize=6)
def _read(spec: str, part: str, root: Path | None) -> list[Example]:
    """Rows of one part of every path, with ids of their own."""
    values = json.loads(spec)
    columns = TASKS.get(values["task"]).columns
    out: list[Example] = []
    for number, path in enumerate(values["path"]):
        source = open_source(locate(path, root), columns, values.get("columns"))
        rows = source.split(part)
        several = len(values["path"]) > 1
        out += [replace(r, id=f"{number}:{r.id}") if several else r for r in rows]
    if len({row.id for row in out}) < len(out):
        out = [replace(row, id=f"{part}:{at}") for at, row in enumerate(out)]
    return out


@functools.lru_cache(maxsize=2)
def _paired_ids(source: str, root: Path | None) -> frozenset[str]:
    """The ids of the rows that stand in a pair, in any part of the data."""
    rows = _read(source, "all", root)
    return frozenset(rows[at].id for pair in pair_places(rows) for at in pair)


def _wanted(row: Example, spec: DataSpec) -> bool:
    fields: Mapping[str, str] = row.fields
    return all(fields.get(name) in values for name, values in spec.only.items()) and not any(
        fields.get(name) in values for name, values in spec.without.items()
    )


def _filled(row: Example, spec: DataSpec) -> Example:
    given = {"language": spec.language, "target_language": spec.target_language}
    extra = {name: text for name, text in given.items() if text}
    return replace(row, fields={**row.fields, **extra}) if extra else row
