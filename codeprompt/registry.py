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
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from codeprompt.errors import UnknownNameError


class Registry:
    """Names to symbols for one package folder.

    Parameters
    ----------
    package: dotted name of the folder, e.g. `codeprompt.methods`.
    symbol: the name each file defines, e.g. `METHOD`.
    kind: the word used in messages, e.g. `method`.
    """

    def __init__(self, package: str, symbol: str, kind: str) -> None:
        self.package, self.symbol, self.kind = package, symbol, kind

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
        return {point.name: point for point in entry_points(group=self.package)}

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported."""
        return sorted({*self.files, *self.plugins})

    def summary(self, name: str) -> str:
        """The first line of the entry's module docstring; nothing is imported for our own files."""
        path = self.files.get(name)
        if path is None:
            return (self.get(name).__doc__ or "").strip().partition("\n")[0]
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return doc.partition("\n")[0].strip()

    def get(self, name: str) -> Any:
        """The entry's symbol. Raises `UnknownNameError` with the nearest name."""
        if name in self.files:
            module = importlib.import_module(f"{self.package}.{self.files[name].stem}")
            return getattr(module, self.symbol)
        if name in self.plugins:
            return self.plugins[name].load()
        raise UnknownNameError(self.kind, name, self.names())


METHODS = Registry("codeprompt.methods", "METHOD", "method")
TASKS = Registry("codeprompt.tasks", "TASK", "task")
METRICS = Registry("codeprompt.metrics", "METRIC", "metric")
LANGUAGES = Registry("codeprompt.languages", "LANGUAGE", "language")
FAMILIES = Registry("codeprompt.backbones", "FAMILY", "backbone family")
