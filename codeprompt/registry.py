"""The folder is the registry: a file's stem is its name, and one known symbol is what it adds.

`methods/ptuning_v2.py` is the method `ptuning-v2` and defines `METHOD`. Nothing is imported to
list names or their summaries (the first line of the module's docstring, read as text), so that
listing stays free of torch. Other packages add entries through entry points of the same group
name (`codeprompt.methods`, ...).
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.errors import UnknownNameError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Registry:
    """Names to symbols for one package folder.

    Parameters
    ----------
    package: dotted name of the folder, e.g. `codeprompt.methods`.
    symbol: the name each file defines, e.g. `METHOD`.
    kind: the word used in messages, e.g. `method`.
    joined: dotted name of the module whose `joined` makes one entry of several (`soft+lora`);
        empty where entries cannot be put together.
    """

    def __init__(self, package: str, symbol: str, kind: str, joined: str = "") -> None:
        self.package, self.symbol, self.kind, self.joined = package, symbol, kind, joined
        self._several: dict[str, Any] = {}

    @functools.cached_property
    def files(self) -> dict[str, Path]:
        """Name to source file of everything that ships in the folder."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return {}
        folder = Path(next(iter(spec.submodule_search_locations)))
        defines = re.compile(rf"^{self.symbol}\b", re.MULTILINE)
        return {
            path.stem.replace("_", "-"): path
            for path in sorted(folder.glob("*.py"))
            if defines.search(path.read_text(encoding="utf-8"))
        }

    @functools.cached_property
    def plugins(self) -> dict[str, EntryPoint]:
        """Name to entry point of everything that other packages add."""
        from importlib.metadata import entry_points  # brings the email package along

        return {point.name: point for point in entry_points(group=self.package)}

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported."""
        return sorted({*self.files, *self.plugins})

    def parts(self, name: str) -> list[str]:
        """The entries that a name is made of: more than one in `soft+lora`."""
        return name.split("+") if self.joined else [name]

    def knows(self, name: str) -> bool:
        """Whether `get` finds it; nothing is imported."""
        return set(self.parts(name)) <= set(self.names())

    def check(self, name: str) -> None:
        """Raises `UnknownNameError` with the nearest name; nothing is imported."""
        known = self.names()
        for part in self.parts(name):
            if part not in known:
                raise UnknownNameError(self.kind, part, known)

    def summary(self, name: str) -> str:
        """The first line of the entry's module docstring; nothing is imported for our own files."""
        path = self.files.get(name)
        if path is None:
            return (self.get(name).__doc__ or "").strip().partition("\n")[0]
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return doc.partition("\n")[0].strip()

    def get(self, name: str) -> Any:
        """The entry's symbol. Raises `UnknownNameError` with the nearest name."""
        self.check(name)
        if len(parts := self.parts(name)) > 1:
            if name not in self._several:
                join = importlib.import_module(self.joined).joined
                self._several[name] = join([(part, self.get(part)) for part in parts])
            return self._several[name]
        if name in self.files:
            module = importlib.import_module(f"{self.package}.{self.files[name].stem}")
            return getattr(module, self.symbol)
        return self.plugins[name].load()


METHODS = Registry("codeprompt.methods", "METHOD", "method", "codeprompt.methods._joined")
TASKS = Registry("codeprompt.tasks", "TASK", "task")
METRICS = Registry("codeprompt.metrics", "METRIC", "metric")
LANGUAGES = Registry("codeprompt.languages", "LANGUAGE", "language")
FAMILIES = Registry("codeprompt.backbones", "FAMILY", "backbone family")
