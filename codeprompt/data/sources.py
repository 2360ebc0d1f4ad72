"""Examples from wherever the user has them: the hub, a file, a folder, a source tree.

`where` is one of
    hub:ID[:CONFIG]     a data set of the Hugging Face hub
    FILE                .jsonl .json .csv .tsv (also .xz .gz .bz2), .parquet; one of two texts
                        aligned line by line (x.java beside x.cs); a source file
    FOLDER              files named after splits (train.jsonl, test.java-cs.txt.java, ...), a folder
                        of `datasets.save_to_disk`, or any source tree

Splits are `train`, `valid`, `test`, or `all`. Where one is missing it is drawn from another by a
seeded hash of whole groups, always the same (`RULES`): so shots and dev never share a row.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from codeprompt.data.adapt import Row, to_examples
from codeprompt.data.base import Columns
from codeprompt.data.hub import HUB, Part, hub_parts, is_saved, saved_parts
from codeprompt.data.split import EIGHT_ONE_ONE, draw, split_by_group
from codeprompt.data.table import (
    read_table,
    read_texts,
    same_length,
    table_kind,
    text_partners,
)
from codeprompt.errors import DataError, UsageError
from codeprompt.languages import language_of
from codeprompt.types import Example

SPLITS = ("train", "valid", "test")
SPLIT_NAMES = {
    **{name: "train" for name in ("train", "training")},
    **{name: "valid" for name in ("valid", "validation", "val", "dev")},
    **{name: "test" for name in ("test", "testing")},
    "nontest": "nontest",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """How to draw dev from a part that is also the pool for training."""

    pool: str
    fraction: float
    at_most: int | None = None


# Tried in order where a data set has no `valid` of its own beside a `train`.
RULES = (
    Rule("nontest", 0.1),  # Devign: train and valid together
    Rule("train", 0.1),
    Rule("valid", 0.2, 400),  # CodeSearchNet without its train: shots and dev both from valid
)


@dataclass(frozen=True)
class Source:
    """A data set that is found but not read: its parts, and the splits they give."""

    where: str
    parts: Mapping[str, Part]
    columns: Columns
    user: Mapping[str, str]

    def split(self, name: str, limit: int | None = None) -> list[Example]:
        """The examples of `train`, `valid`, `test` or `all`; the first `limit` of them.

        Raises `DataError` where the data has no such split and none can be drawn.
        """
        if name != "all" and SPLIT_NAMES.get(name) not in SPLITS:
            raise UsageError(f"Unknown split '{name}'", expected="train, valid, test or all")
        if limit is not None and limit < 1:
            raise UsageError(f"A limit of {limit} rows", expected="at least 1")
        name = SPLIT_NAMES.get(name, name)
        if name == "all":
            return list(islice(chain.from_iterable(map(self._rows, self.parts)), limit))
        if "all" in self.parts:
            return self._thirds[name][:limit]
        rule = self._rule
        if rule is not None and name in ("train", "valid"):
            drawn, rest = self._drawn
            return (drawn if name == "valid" else rest)[:limit]
        if name not in self.parts:
            raise DataError(
                f"{self.where} has no {name} split; it has: {', '.join(self.parts)}",
                do="Ask for another split (--split), or add a file of that name",
            )
        return list(islice(self._rows(name), limit))

    def _rows(self, part: str) -> Iterator[Example]:
        return to_examples(self.parts[part](), self.columns, self.user, f"{self.where}/{part}")

    @functools.cached_property
    def _rule(self) -> Rule | None:
        if {"train", "valid"} <= set(self.parts):
            return None
        return next((rule for rule in RULES if rule.pool in self.parts), None)

    @functools.cached_property
    def _drawn(self) -> tuple[list[Example], list[Example]]:
        rule = self._rule
        if rule is None:
            return [], []
        return draw(list(self._rows(rule.pool)), rule.fraction, rule.at_most)

    @functools.cached_property
    def _thirds(self) -> dict[str, list[Example]]:
        return split_by_group(list(self._rows("all")), EIGHT_ONE_ONE)


def open_source(
    where: str | Path, columns: Columns, user: Mapping[str, str] | None = None
) -> Source:
    """Find the data; rows are read when a split is asked for. Raises `DataError` if none is there.

    columns: the task's. user: field (or `target`) to column, which wins over the task's.
    """
    text = str(where)
    if text.startswith(HUB):
        parts = _by_split(hub_parts(text))
    else:
        path = Path(text).expanduser()
        if not path.exists():
            raise DataError(
                f"There is no data at {text}",
                expected="a file, a folder, or hub:ID",
                do=f"Write hub:{text} for a data set of the Hugging Face hub"
                if re.fullmatch(r"[\w.-]+/[\w.-]+", text)
                else "Check the path",
            )
        parts = _folder_parts(path) if path.is_dir() else _file_parts(path)
    return Source(text.rstrip("/"), parts, columns, dict(user or {}))


def load_data(
    where: str | Path,
    task_columns: Columns,
    *,
    split: str = "all",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[Example]:
    """The examples of one split; see the module's docstring for `where` and `split`.

    columns: field (or `target`) to the data set's column, e.g. {"code": "cs", "target": "java"}.
    limit: the first so many rows. To read several splits use `open_source`, which reads once.
    """
    return open_source(where, task_columns, columns).split(split, limit)


def _by_split(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Parts under our names for splits; those with other names together are `all`."""
    named = {SPLIT_NAMES[name]: part for name, part in parts.items() if name in SPLIT_NAMES}
    if named:
        return named
    listed = list(parts.values())
    return {"all": lambda: chain.from_iterable(part() for part in listed)}


def _said_split(path: Path) -> str | None:
    """The split that a file's name begins with: `test` of `test.java-cs.txt.java`."""
    return SPLIT_NAMES.get(re.split(r"[._-]", path.name.lower())[0])


def _file_parts(path: Path) -> dict[str, Part]:
    said = _said_split(path)
    if said is not None and (table_kind(path) or text_partners(path)):
        # The file is the split it says it is; its neighbours are the others.
        return _split_files(path.parent, _family(path))
    if table_kind(path):
        return {"all": lambda: read_table(path)}
    partners = text_partners(path)
    if partners and same_length(partners):
        return {"all": lambda: read_texts(partners)}
    if language_of(path) is not None:
        return {"all": lambda: _harvested(path)}
    raise DataError(
        f"{path} is no kind of file that data is read from",
        expected=".jsonl, .json, .csv, .tsv or .parquet, two aligned texts, or source code",
    )


def _family(path: Path) -> str:
    """A file's name after the word for its split: `.java-cs.txt` of `test.java-cs.txt.java`."""
    rest = path.name[len(re.split(r"[._-]", path.name)[0]) :]
    return rest if table_kind(path) else rest.removesuffix(path.suffix)


def _split_files(folder: Path, family: str | None = None) -> dict[str, Part]:
    """Files of a folder by the split that their names begin with."""
    tables: dict[str, list[Path]] = {}
    texts: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        said = _said_split(path)
        if said is None or not path.is_file() or family not in (None, _family(path)):
            continue
        if table_kind(path):
            tables.setdefault(said, []).append(path)
        elif len(text_partners(path)) > 1:
            texts[said] = text_partners(path)
    parts: dict[str, Part] = {}
    for said, paths in tables.items():
        _one_kind(said, paths)
        parts[said] = functools.partial(_tables, paths)
    for said, paths in texts.items():
        parts.setdefault(said, functools.partial(read_texts, paths))
    return parts


def _tables(paths: list[Path]) -> Iterator[Row]:
    return chain.from_iterable(map(read_table, paths))


def _one_kind(said: str, paths: list[Path]) -> None:
    """Several files of one split must be shards (`train-00000-of-00002.parquet`)."""
    if len({re.sub(r"\d+", "", path.name) for path in paths}) > 1:
        raise DataError(
            f"{paths[0].parent} has several files for the split '{said}': "
            + ", ".join(path.name for path in paths),
            expected="one, or numbered shards of one",
            do="Give the file instead of the folder",
        )


def _folder_parts(folder: Path) -> dict[str, Part]:
    if is_saved(folder):
        return _by_split(saved_parts(folder))
    parts = _split_files(folder)
    if not parts and (folder / "data").is_dir():
        parts = _split_files(folder / "data")
    if parts:
        return parts
    if any(language_of(path) for path in folder.rglob("*.*")):
        return {"all": lambda: _harvested(folder)}
    raise DataError(
        f"{folder} is no kind of folder that data is read from",
        expected="files named train, valid and test, a folder of datasets.save_to_disk, or a "
        "source tree in a supported language",
    )


def _harvested(tree: Path) -> Iterator[Row]:
    from codeprompt.data.harvest import as_row, harvest, need_examples

    return map(as_row, need_examples(harvest(tree), tree))
