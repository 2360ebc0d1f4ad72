"""Which columns of a data set become which fields: what a task carries and a user overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Columns:
    """Field names and the columns they are read from.

    fields: field to accepted column names; the first that a data set has is taken.
    target: accepted column names of the reference or label, in the same way.
    labels: for classification, a raw value (as lower-case text) to its label's name.
    required: fields that every row must have, and not blank.
    defaults: values of fields that no column gives.
    """

    fields: Mapping[str, tuple[str, ...]]
    target: tuple[str, ...]
    labels: Mapping[str, str] | None = None
    required: tuple[str, ...] = ("code",)
    defaults: Mapping[str, str] = field(default_factory=dict)


ABOUT: Mapping[str, tuple[str, ...]] = {
    "language": ("language", "lang"),
    "name": ("name", "func_name", "function_name", "identifier"),
    "path": ("path", "file_path", "file", "filename"),
    "class": ("class", "class_name"),
    "imports": ("imports",),
    "repo": ("repo", "repository", "repository_name"),
    "project": ("project",),
}
UNTOLD: Mapping[str, str] = {"class": "", "imports": ""}
"""What many functions have none of, and many data sets do not tell."""
