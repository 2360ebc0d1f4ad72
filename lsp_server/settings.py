"""Settings: fully defaulted values, one set for each folder; an unfit value gets a message.

They come from `initializationOptions`, from the editor's `workspace/configuration` for the folder
(section `codeprompt`), and from the nearest `.codeprompt/editor.toml` above the file, which wins:
so a part of a monorepo has its own. A file in the tree may not say what only a person may.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

FILE = Path(".codeprompt") / "editor.toml"
SECTION = "codeprompt"
PERSONAL = frozenset({"trust", "threads", "pause"})
"""Settings that a file in the tree cannot make."""


@dataclass(frozen=True)
class Hover:
    """minimumConfidence: below it a summary is not shown. budget: ms until "computing"."""

    enabled: bool = True
    minimum_confidence: float = 0.1
    budget: int = 400


@dataclass(frozen=True)
class Docstring:
    """style: a name of `lsp_server.docstrings`, or the file's own. sections: parameters too."""

    enabled: bool = True
    style: str = "auto"
    sections: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True)
class Diagnostics:
    """mode: auto warns only where the pack beats "never" on its validation rows.

    threshold: a probability; None takes the pack's. margin: how far a shown warning must fall.
    """

    mode: Literal["auto", "on", "off"] = "auto"
    threshold: float | None = None
    margin: float = 0.05
    severity: Literal["warning", "information", "hint"] = "information"


@dataclass(frozen=True)
class Switch:
    """A feature that is there or not."""

    enabled: bool = False


@dataclass(frozen=True)
class Translate:
    """targets: languages to offer; empty: those the pack is known for."""

    enabled: bool = True
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tune:
    """How a project's pack is tuned. shots: functions to learn from."""

    enabled: bool = True
    method: str = "soft"
    recipe: str = "few-shot"
    shots: int = 64


@dataclass(frozen=True)
class Packs:
    """Names, or NAME@VERSION; empty: chosen."""

    summarize: str = ""
    defect: str = ""
    translate: str = ""
    localize: str = ""


@dataclass(frozen=True)
class Pause:
    """When passive features rest. memory: MB that must be free."""

    on_battery: bool = True
    memory: int = 500


@dataclass(frozen=True)
class Settings:
    """Everything; the JSON names are camelCase (`inlayHints.enabled`)."""

    hover: Hover = field(default_factory=Hover)
    docstring: Docstring = field(default_factory=Docstring)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    code_lens: Switch = field(default_factory=Switch)
    inlay_hints: Switch = field(default_factory=Switch)
    inline_completion: Switch = field(default_factory=lambda: Switch(True))
    translate: Translate = field(default_factory=Translate)
    tune: Tune = field(default_factory=Tune)
    packs: Packs = field(default_factory=Packs)
    pause: Pause = field(default_factory=Pause)
    trust: Literal["ask", "always", "never"] = "ask"
    threads: int | None = None
    max_file_kb: int = 1000
    exclude: tuple[str, ...] = ()


def read(values: Any, base: Settings | None = None) -> tuple[Settings, list[str]]:
    """Settings from JSON over `base`, and what did not fit: those keep their value."""
    base = base or Settings()
    if values is None or values == []:  # an empty table of Lua's is written as a list
        return base, []
    if not isinstance(values, Mapping):
        return base, ["The settings are no object; all keep their values."]
    problems: list[str] = []
    return _filled(base, values, "", problems), problems


def nearest_file(path: Path | None, root: Path | None) -> Path | None:
    """The settings file that is nearest above a file, within its folder `root`."""
    if path is None or root is None or not path.is_relative_to(root):
        return None
    for folder in path.parents:
        if (folder / FILE).is_file():
            return folder / FILE
        if folder == root:
            return None
    return None


def read_file(path: Path, base: Settings) -> tuple[Settings, list[str]]:
    """Settings of a file over `base`; what is a person's to say is left."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return base, [f"{path} cannot be read: {error}."]
    refused = [f"{path}: '{key}' is not a file's to say." for key in values if key in PERSONAL]
    values = {key: value for key, value in values.items() if key not in PERSONAL}
    found, problems = read(values, base)
    return found, refused + [f"{path}: {problem}" for problem in problems]


def camel(name: str) -> str:
    """`code_lens` as `codeLens`."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _filled(base: Any, values: Mapping[str, Any], place: str, problems: list[str]) -> Any:
    hints = get_type_hints(type(base))
    known = {camel(f.name): f.name for f in fields(base)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = known.get(key) or (key if key in hints else None)
        where = f"{place}{key}"
        if name is None:
            if place or key != "trace":
                problems.append(f"There is no setting '{where}'.")
        elif is_dataclass(getattr(base, name)):
            if isinstance(value, Mapping):
                changes[name] = _filled(getattr(base, name), value, f"{where}.", problems)
            elif value is not None:
                problems.append(f"'{where}' is no object.")
        else:
            fit, taken = _fit(hints[name], value)
            if fit:
                changes[name] = taken
            elif value is not None:
                problems.append(f"'{where}' cannot be {value!r}; it stays as it was.")
    return replace(base, **changes)


def _fit(kind: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value has a type, and the value in it."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return value in options, value
    if get_origin(kind) is tuple:
        listed = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        return listed, tuple(value) if listed else ()
    if type(None) in options:
        if value is None:
            return True, None
        kind = next(option for option in options if option is not type(None))
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and 0 <= value <= 1, value
    if kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and value >= 0, value
    return isinstance(value, kind), value
