"""Recipes: how to train, as data.

A recipe is one TOML file in this folder: defaults, then what a method's kind changes, then what the
method itself wants (`methods/NAME.toml`, the same in every recipe), then the task; later tables
win. `expected` lists the scores it gave, with the
command's settings, so that a user can tell whether a run went as it should.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from codeprompt.errors import UnknownNameError, UsageError

FOLDER = Path(__file__).parent
TABLES = ("summary", "expected", "default", "kind", "method", "task")
"""What may stand at the top of a recipe's file."""
IDLE = ("hard", "given")
"""Kinds of methods that learn nothing."""


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run that is not task, data, backbone or method.

    shots: rows to train on, in total or per class (`per_class`); 0 for all there are. dev: rows
    to select on. lr: of the prompt; `backbone_lr` of the weights where they are tuned. warmup:
    share of the steps. evaluate_every: in steps. patience: evaluations without a better one.
    precision: of the frozen backbone while training; `auto` is bf16 where the processor has it.
        Where weights are tuned they stay float32, and `bf16` is of the products alone.
    dropout: whether the backbone's own dropout is on (never by default while a prompt trains).
    options: settings of the method. rates: of methods put together, what the rate of each is
        multiplied with, by the method's name.
    """

    name: str = "few-shot"
    shots: int = 64
    per_class: bool = False
    dev: int = 64
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    lr: float = 5e-3
    backbone_lr: float = 5e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.1
    steps: int = 200
    batch: int = 16
    accumulate: int = 1
    clip: float = 1.0
    evaluate_every: int = 25
    patience: int = 8
    precision: Literal["auto", "float32", "bf16"] = "auto"
    dropout: bool = False
    source_length: int = 0
    target_length: int = 0
    calibrate: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", expected="at least 1")
        for name in ("shots", "dev", "lr", "backbone_lr", "clip", "warmup", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}", expected="at least 0")

    def with_changes(self, **changes: Any) -> Recipe:
        """The same recipe with what the user asked for; None changes nothing."""
        changes = {k: v for k, v in changes.items() if v is not None}
        try:
            return convert({**asdict(self), **changes})
        except msgspec.ValidationError as error:
            raise UsageError(f"A setting does not fit: {error}") from error

    def with_options(self, options: Mapping[str, Any]) -> Recipe:
        """The same recipe with settings of the method on top of its own."""
        return replace(self, options={**self.options, **options})


def convert(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values. Raises `msgspec.ValidationError`."""
    unknown = set(values) - set(Recipe.__dataclass_fields__)
    if unknown:
        raise msgspec.ValidationError(f"no setting is called {', '.join(sorted(unknown))}")
    return msgspec.convert(dict(values), Recipe, strict=False)


def names() -> list[str]:
    """Names of the recipes that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    """A recipe's file, by name or path, as plain values."""
    path = FOLDER / f"{name}.toml"
    if name.endswith(".toml"):
        path = Path(name)
    if not path.is_file():
        raise UnknownNameError("recipe", name, names())
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {path} is not valid TOML: {error}") from error
    stray = sorted(set(found) - set(TABLES))
    if stray:  # `steps = 500` above every table would change nothing, and not say so
        raise UsageError(
            f"The recipe {path} has {', '.join(stray)} outside of its tables",
            expected="[default], [kind.KIND], [task.TASK] or [method.METHOD.TASK]",
            do="Put what holds for every run under [default]",
        )
    return found


def of_method(method: str) -> dict[str, Any]:
    """What a method wants in every recipe; `task` holds what it wants for one task alone."""
    path = FOLDER / "methods" / f"{method}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def load(name: str, *, task: str, method: str, kind: str) -> Recipe:
    """The recipe for a task and a method. Raises `UsageError` where a value does not fit.

    Of methods put together (`soft+lora`, of the kinds `prompt+delta`) each keeps the rate of its
    own recipe, as a share of the first one's; everything else is the first one's. A part that
    learns nothing has no say.
    """
    own = list(zip(method.split("+"), kind.split("+"), strict=True))
    if len(own) == 1:
        return _load(name, task, method, kind)
    own = [one for one in own if one[1] not in IDLE] or own
    parts = {part: _load(name, task, part, its_kind) for part, its_kind in own}
    first = next(iter(parts.values()))
    rates = {part: recipe.lr / first.lr for part, recipe in parts.items()} if first.lr else {}
    options = {part: dict(recipe.options) for part, recipe in parts.items() if recipe.options}
    return replace(first, options=options, rates=rates)


def _load(name: str, task: str, method: str, kind: str) -> Recipe:
    data, own = read(name), of_method(method)
    values: dict[str, Any] = {"name": Path(name).stem}
    tables = (
        data.get("default", {}),
        data.get("kind", {}).get(kind, {}),
        {key: value for key, value in own.items() if key != "task"},
        data.get("task", {}).get(task, {}),
        own.get("task", {}).get(task, {}),
        data.get("method", {}).get(method, {}).get(task, {}),
    )
    for table in tables:
        options = {**values.get("options", {}), **table.get("options", {})}
        values.update(table)
        values["options"] = options
    try:
        return convert(values)
    except msgspec.ValidationError as error:
        raise UsageError(f"The recipe '{name}' does not fit: {error}") from error


def expected(name: str) -> list[dict[str, Any]]:
    """What the recipe is expected to give: rows of task, method, backbone, metric, value."""
    return list(read(name).get("expected", []))
