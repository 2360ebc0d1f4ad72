"""The rows that a run draws its shots and its dev set from, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from codeprompt.data.sources import open_source
from codeprompt.errors import DataError
from codeprompt.tasks.base import Task
from codeprompt.template import Template
from codeprompt.training.labels import check_lines
from codeprompt.types import Example

if TYPE_CHECKING:
    from codeprompt.training.setup import TuneRequest


def pools(request: TuneRequest, task: Task) -> tuple[list[Example], list[Example]]:
    """Rows to draw shots from and rows to draw the dev set from; never rows of a test split."""
    given = {"language": request.language, "target_language": request.target_language}
    extra = {name: value for name, value in given.items() if value}
    source = open_source(request.data, task.columns, request.columns)
    pool = source.split("train", request.limit)
    if request.dev_data:
        other = open_source(request.dev_data, task.columns, request.columns)
        # A file of its own is the dev set as a whole; a data set with splits brings its own.
        dev = other.split("all" if "all" in other.parts else "valid", request.limit)
    else:
        dev = source.split("valid", request.limit)
    if not pool or not dev:
        raise DataError(
            f"{request.data} leaves {len(pool)} rows to train on and {len(dev)} to select on",
            expected="at least one of each",
            do="Give more data, or a dev set of its own with --dev-data",
        )
    if task.kind == "classify":
        _check_labels(task, pool, request.data)
        _check_labels(task, dev, request.dev_data or request.data, few=True)
    if task.kind == "label":
        check_lines(pool, request.data)
        check_lines(dev, request.dev_data or request.data)
    return [_with_fields(row, extra) for row in pool], [_with_fields(row, extra) for row in dev]


def _with_fields(example: Example, extra: Mapping[str, str]) -> Example:
    """The same example with fields that the data does not hold; the user's word wins."""
    return replace(example, fields={**example.fields, **extra}) if extra else example


def _check_labels(task: Task, rows: Sequence[Example], where: str, few: bool = False) -> None:
    found = {row.target for row in rows}
    if unknown := sorted(found - set(task.labels)):
        raise DataError(
            f"{where} has the label '{unknown[0]}', which '{task.name}' does not know",
            expected=f"one of: {', '.join(task.labels)}",
        )
    if len(found) < 2 and not few:
        raise DataError(
            f"All {len(rows)} rows of {where} have one label, '{next(iter(found), '')}'",
            expected="at least two classes to tell apart",
            do="Give data of both classes, or check which column holds the label (--columns)",
        )


def check_fields(
    template: Template, rows: Sequence[Example], *, called: str = "The template"
) -> None:
    """Raise `DataError` where a template asks for what a row does not hold."""
    for row in rows:
        missing = [name for name in template.fields if name not in row.fields]
        if missing:
            hint = {"language": "--language NAME", "target_language": "--target-language NAME"}
            do = " and ".join(hint.get(name, f"--columns {name}=COLUMN") for name in missing)
            raise DataError(
                f"{called} asks for {', '.join(missing)}, which the data does not hold "
                f"(it has {', '.join(sorted(row.fields))})",
                do=f"Give {do}",
            )
