"""TensorBoard: a run a cell, with its learning curve, its settings and its final numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeprompt.bench.results import CellResult, Tables
from codeprompt.bench.suite import Suite
from codeprompt.bench.trackers.base import Track, curve_of, name_of, settings_of, values_of
from codeprompt.errors import UsageError


class TensorBoard:
    """Event files under one folder, one folder a cell."""

    def __init__(self, where: str, suite: Suite) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "TensorBoard is not installed", do='pip install "codeprompt[tensorboard]"'
            ) from error
        self.writer: Any = SummaryWriter
        self.root = Path(where) / suite.name
        self.suite = suite

    def cell(self, result: CellResult) -> None:
        """Curve, final numbers, and one row of the table of hyperparameters."""
        name = name_of(result).replace(" ", "_").replace("/", "-")
        with self.writer(log_dir=str(self.root / name)) as writer:
            for step, values in curve_of(result):
                for key, value in values.items():
                    writer.add_scalar(f"train/{key}", value, step)
            final = {f"final/{key}": value for key, value in values_of(result).items()}
            writer.add_hparams(settings_of(result), final, run_name=".")
            if result.error:
                writer.add_text("error", result.error)

    def tables(self, tables: Tables) -> None:
        """The suite's question and its tables as text."""
        with self.writer(log_dir=str(self.root)) as writer:
            writer.add_text("question", self.suite.question)
            for table in tables.tables:
                writer.add_text(table.title, _markdown(table))

    def close(self) -> None:
        """Every writer is closed already."""


def _markdown(table: Any) -> str:
    heads = ["arm", "shots", "seeds", *table.metrics]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in table.rows:
        means = [row.metrics[m].mean if m in row.metrics else None for m in table.metrics]
        shown = ["-" if value is None else f"{value:.2f}" for value in means]
        lines.append(
            "| " + " | ".join([row.name, str(row.shots), str(len(row.seeds)), *shown]) + " |"
        )
    return "\n".join(lines)


TRACKER = Track(TensorBoard)
