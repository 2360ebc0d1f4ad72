"""What a tuning job is asked for, and the checks that need neither data nor backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from codeprompt.errors import DataError, UnknownNameError, UsageError
from codeprompt.pack.card import NAME

UPLOAD, HUB = "upload:", "hub:"
MOST_SEEDS = 32


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning job, in the words of `codeprompt.training.TuneRequest`.

    name: of the pack it makes. data, dev_data: a path on this machine, `upload:ID` or `hub:ID`.
    overrides: fields of the recipe (shots, steps, lr, ...). options: settings of the method.
    """

    task: str
    data: str
    name: str
    method: str = "soft"
    recipe: str = "few-shot"
    backbone: str = "builtin"
    template: str | None = None
    seeds: tuple[int, ...] = (0,)
    head: Literal["verbalizer", "linear"] | None = None
    columns: dict[str, str] | None = None
    dev_data: str | None = None
    language: str | None = None
    target_language: str | None = None
    overrides: dict[str, Any] = {}
    options: dict[str, Any] = {}
    limit: int | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> JobSpec:
        """From plain values. Raises `UsageError` with the place of what does not fit."""
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise UsageError(f"The job does not fit: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values


def check(spec: JobSpec, *, local: bool, allow_hub: bool, upload: Callable[[str], Path]) -> JobSpec:
    """The spec with full paths. Raises `CodepromptError` on what cannot be tuned.

    local: whether it may name paths on this machine. upload: the file of an upload's id.
    """
    from codeprompt import recipes
    from codeprompt.registry import METHODS, TASKS
    from codeprompt.template import parse

    if not NAME.fullmatch(spec.name):
        raise UsageError(
            "The name of the pack cannot be used",
            expected="letters, digits, '.', '_' and '-', a letter or digit first, at most 100",
        )
    if not spec.seeds or len(set(spec.seeds)) < len(spec.seeds) or min(spec.seeds) < 0:
        raise UsageError("The seeds do not fit", expected="one or more from 0, all unlike")
    if len(spec.seeds) > MOST_SEEDS:
        raise UsageError(f"There are {len(spec.seeds)} seeds", expected=f"at most {MOST_SEEDS}")
    if spec.limit is not None and spec.limit < 1:
        raise UsageError(f"The limit is {spec.limit}", expected="at least 1")
    task, method = TASKS.get(spec.task), METHODS.get(spec.method)
    if spec.recipe not in recipes.names():  # a path would read a file of this machine
        raise UnknownNameError("recipe", spec.recipe, recipes.names())
    recipe = recipes.load(spec.recipe, task=task.name, method=spec.method, kind=method.kind)
    recipe = recipe.with_changes(**spec.overrides).with_options(spec.options)
    method.configure(recipe.options)
    if spec.template is not None:
        parse(spec.template)
    if not local and spec.backbone != "builtin" and _is_path(spec.backbone):
        raise UsageError(
            "The job names a backbone's folder on the engine's machine",
            expected="`builtin` or a model's id, unless it comes over the Unix socket",
        )
    where = {"data": spec.data} | ({"dev_data": spec.dev_data} if spec.dev_data else {})
    places = {
        key: _place(key, value, local=local, allow_hub=allow_hub, upload=upload)
        for key, value in where.items()
    }
    return msgspec.structs.replace(spec, backbone=_full(spec.backbone), **places)


def locate(where: str, upload: Callable[[str], Path]) -> str:
    """What `TuneRequest` takes for a checked spec's data."""
    if where.startswith(UPLOAD):
        return str(upload(where.removeprefix(UPLOAD)))
    return where


def _place(
    key: str, where: str, *, local: bool, allow_hub: bool, upload: Callable[[str], Path]
) -> str:
    if where.startswith(UPLOAD):
        upload(where.removeprefix(UPLOAD))
        return where
    if where.startswith(HUB):
        if not allow_hub:
            raise UsageError(
                f"'{key}' asks a model hub, and this engine is offline",
                do="Upload the data, or start the engine with --allow-hub",
            )
        return where
    if not local:
        raise UsageError(
            f"'{key}' names a path on the engine's machine",
            expected="`upload:ID`, unless the job comes over the Unix socket",
            do="Upload the data first",
        )
    path = Path(where).expanduser()
    if not path.is_absolute():
        raise UsageError(f"'{key}' is a path from some folder", expected="a full path")
    if not path.exists():
        raise DataError(f"There is no data at {path}", expected="a file or a folder")
    return str(path)


def _is_path(backbone: str) -> bool:
    return backbone.startswith((".", "~", "/", "\\")) or Path(backbone).exists()


def _full(backbone: str) -> str:
    """The child works in a folder of its own, so a path must be full."""
    path = Path(backbone).expanduser()
    return str(path.absolute()) if backbone != "builtin" and path.is_dir() else backbone
