"""Rows of any data set to examples, by a task's columns and the user's."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from codeprompt.data.base import Columns
from codeprompt.errors import DataError
from codeprompt.languages import find_language, is_language
from codeprompt.languages.functions import spaced
from codeprompt.types import Example

Row = Mapping[str, Any]
DEVIGN = frozenset({"project", "func", "target"})
"""Columns it is known by. Its rows state nowhere that they are C, and are read in one layout."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which column gives what in this data set."""

    fields: Mapping[str, str]
    target: str
    constants: Mapping[str, str]
    group: tuple[str, ...]
    has_id: bool
    spaced: bool


def to_examples(
    rows: Iterable[Row], columns: Columns, user: Mapping[str, str] | None, name: str
) -> Iterator[Example]:
    """Examples of `rows`; `name` is the data set's in messages and the part's in ids.

    user: field (or `target`) to column; it wins over the task's own. A list of tokens becomes text
    with one space between. `group` is the column `group`, else repository and path, else a hash of
    the code, so that equal code never falls into two splits. Raises `DataError` for a missing
    column, a blank required field or target, or an unknown label.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name} holds no rows", expected="at least one row")
    plan = _plan(first, columns, user or {}, name)
    for at, row in enumerate(chain([first], rows)):
        where = f"Row {at + 1} of {name}"
        fields = dict(plan.constants)
        for field, column in plan.fields.items():
            text = _text(row.get(column))
            fields[field] = _language(text) if field.endswith("language") else text
        for field in columns.required:
            if not fields[field].strip():
                column = plan.fields.get(field, field)
                raise DataError(
                    f"{where} has nothing in the column '{column}' ({field})",
                    do="Fill it or leave the row out",
                )
        # Before the layout is changed, so that splits stay what they were.
        group = _group(row, plan, fields)
        if plan.spaced:
            both = {"code", "raw_code"} & fields.keys()
            fields |= {name: spaced(fields[name]) for name in both}
        target = _target(row.get(plan.target), columns.labels, where, plan.target)
        yield Example(fields, target, _id(row, plan, name, at), group)


def _plan(row: Row, columns: Columns, user: Mapping[str, str], name: str) -> _Plan:
    there = list(row)
    for field, column in user.items():
        if column not in row:
            raise _missing(f"the column '{column}' (for {field})", [column], there, name)
    accepted = dict(columns.fields)
    fields: dict[str, str] = {}
    for field, choices in accepted.items():
        found = user.get(field) or next((choice for choice in choices if choice in row), None)
        if found is not None:
            fields[field] = found
        elif field in columns.required:
            raise _missing(f"a column for {field}", choices, there, name)
    fields.update({field: column for field, column in user.items() if field != "target"})
    if "code" in user and "raw_code" in fields and "raw_code" not in user:
        fields["raw_code"] = user["code"]
    target = user.get("target") or next((c for c in columns.target if c in row), None)
    if target is None:
        raise _missing("a column for the target", columns.target, there, name)
    constants = dict(columns.defaults)
    devign = set(there) >= DEVIGN
    if devign:
        constants["language"] = "c"
    for field, column in (("language", fields.get("code", "")), ("target_language", target)):
        if field in accepted and field not in fields and is_language(column):
            constants[field] = find_language(column).name
    constants = {field: text for field, text in constants.items() if field not in fields}
    group: tuple[str, ...] = ("group",) if "group" in row else ()
    if not group and "path" in row:
        group = ("repo", "path") if "repo" in row else ("path",)
    return _Plan(fields, target, constants, group, isinstance(row.get("id"), str), devign)


def _missing(what: str, wanted: Iterable[str], there: list[str], name: str) -> DataError:
    wanted = list(wanted)
    near = [
        close
        for column in wanted
        for close in difflib.get_close_matches(column, there, n=1, cutoff=0.6)
    ]
    listed = " or ".join(f"'{column}'" for column in wanted)
    return DataError(
        f"{name} lacks {what}; it has: {', '.join(there)}",
        expected=f"a column named {listed}",
        do=(f"Did you mean '{near[0]}'? " if near else "") + "Name it with --columns FIELD=COLUMN",
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return " ".join(" ".join(map(str, value)).split())
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _language(text: str) -> str:
    return find_language(text).name if is_language(text) else text


def _target(value: Any, labels: Mapping[str, str] | None, where: str, column: str) -> str:
    text = _text(value)
    if not text.strip():
        raise DataError(
            f"{where} has nothing in the column '{column}' (target)",
            do="Fill it or leave the row out",
        )
    if labels is None:
        return text
    plain = text.strip().lower().removesuffix(".0")
    if plain not in labels:
        raise DataError(
            f"{where} has the label '{text[:40]}' in the column '{column}'",
            expected="one of: " + ", ".join(labels),
            do="Name the column of the label with --columns target=COLUMN",
        )
    return labels[plain]


def _id(row: Row, plan: _Plan, name: str, at: int) -> str:
    return str(row["id"]) if plan.has_id else f"{name.rpartition('/')[2]}:{at}"


def _group(row: Row, plan: _Plan, fields: Mapping[str, str]) -> str:
    if plan.group:
        return "/".join(_text(row.get(column)) for column in plan.group)
    code = fields.get("raw_code") or fields.get("code", "")
    return hashlib.sha256(code.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]
