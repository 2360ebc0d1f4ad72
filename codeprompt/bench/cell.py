"""A cell: one arm, one seed, one data set; its configuration is its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from codeprompt.bench.suite import DataSpec, EvaluationSpec, Shots


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that decides a cell's numbers, the data's content and the versions apart.

    Fields are those of `Arm`, `Suite` and `Grid`. rates_from: hash of the cell whose chosen rate is
    taken (`Suite.select`); its own `rates` are then empty.
    """

    arm: str
    data: DataSpec
    evaluations: tuple[EvaluationSpec, ...]
    shots: Shots = 0
    seed: int = 0
    variant: str = ""
    method: str = ""
    baseline: str = ""
    backbone: str = ""
    recipe: str = "low-resource"
    template: str = ""
    head: str = ""
    rates: tuple[float, ...] = ()
    rates_from: str = ""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    beams: int = 1
    threads: int = 1
    bootstrap: int = 1000
    isolate: bool = False
    latency: bool = False
    checks: bool = False

    @property
    def task(self) -> str:
        """Of the data."""
        return self.data.task

    @property
    def label(self) -> str:
        """For people: `csn-python/soft/100/seed-0`."""
        arm = f"{self.arm} ({self.variant})" if self.variant else self.arm
        return f"{self.data.name}/{arm}/{self.shots}/seed-{self.seed}"

    @property
    def hash(self) -> str:
        """16 hex digits over the configuration."""
        text = json.dumps(as_plain(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_plain(value: Any) -> Any:
    """JSON values of a configuration; fields at their defaults are left out.

    So a field that a later version adds changes no hash of before.
    """
    if is_dataclass(value) and not isinstance(value, type):
        out = {}
        for one in fields(value):
            found = getattr(value, one.name)
            default = one.default
            if one.default_factory is not MISSING:
                default = one.default_factory()
            if default is MISSING or found != default:
                out[one.name] = as_plain(found)
        return out
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value
