"""Weights & Biases: a group a suite, a run a cell; `WANDB_MODE=offline` keeps it here."""

from __future__ import annotations

from typing import Any

from codeprompt.bench.results import CellResult, Tables
from codeprompt.bench.suite import Suite
from codeprompt.bench.trackers.base import Track, curve_of, name_of, settings_of, values_of
from codeprompt.errors import UsageError


class WandB:
    """where: the project."""

    def __init__(self, where: str, suite: Suite) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError("Weights & Biases is not installed", do="pip install wandb") from error
        self.wandb: Any = wandb
        self.project, self.group = where, suite.name

    def cell(self, result: CellResult) -> None:
        """Settings, curve and final numbers of one cell; the same cell is the same run."""
        run = self.wandb.init(
            project=self.project,
            group=self.group,
            name=name_of(result),
            id=result.hash,
            config=settings_of(result),
            reinit="finish_previous",
        )
        for step, values in curve_of(result):
            run.log({f"train/{key}": value for key, value in values.items()}, step=step)
        for key, value in values_of(result).items():
            run.summary[key] = value
        if result.error:
            run.summary["error"] = result.error
        run.finish(exit_code=0 if result.status == "ok" else 1)

    def tables(self, tables: Tables) -> None:
        """W&B draws its own from the runs."""

    def close(self) -> None:
        """Every run is finished already."""


TRACKER = Track(WandB)
