"""What a tracker is told: every result as it comes, and the tables at the end.

Results come to the process that was started, so a tracker sees the same whether cells ran here, in
workers or on a cluster: a cell's learning curve arrives with its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from codeprompt.bench.results import CellResult, Tables
from codeprompt.bench.suite import Suite


class Tracker(Protocol):
    """Somewhere that results go beside their folder."""

    def cell(self, result: CellResult) -> None:
        """One cell has ended, well or not."""

    def tables(self, tables: Tables) -> None:
        """The run has ended."""

    def close(self) -> None:
        """Nothing more comes."""


@dataclass(frozen=True)
class Track:
    """What a file of this folder offers.

    open: (where, suite) to a tracker; where is a folder, an address or a project, as the tracker
    takes it. Raises `UsageError` where its library is not installed.
    """

    open: Callable[[str, Suite], Tracker]


def name_of(result: CellResult) -> str:
    """A cell's name in a tracker: readable, and unique by the start of its hash."""
    return f"{result.config.label} {result.hash[:6]}"


def settings_of(result: CellResult) -> dict[str, str | int | float]:
    """What a cell was, as flat values."""
    config = result.config
    return {
        "task": config.task,
        "data": config.data.name,
        "arm": config.arm,
        "variant": config.variant,
        "shots": config.shots,
        "seed": config.seed,
        "backbone": result.backbone,
        "rate": "" if result.rate is None else result.rate,
        "hash": result.hash,
        "status": result.status,
    }


def values_of(result: CellResult) -> dict[str, float]:
    """A cell's final numbers, by a path-like name."""
    out: dict[str, float] = {}
    for one in result.evaluations:
        for score in one.scores:
            if score.value is not None:
                out[f"{one.name}/{score.metric}"] = score.value
    if result.dev is not None:
        out["dev"] = result.dev
    out["seconds"] = result.seconds
    out["parameters"] = float(result.cost.parameters)
    return out


def curve_of(result: CellResult) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of the chosen trial."""
    if result.chosen is None:
        return
    for point in result.trials[result.chosen].history:
        yield int(point["step"]), {k: v for k, v in point.items() if k != "step"}
