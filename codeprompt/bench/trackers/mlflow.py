"""MLflow: an experiment a suite, a run a cell."""

from __future__ import annotations

from codeprompt.bench.results import CellResult, Tables
from codeprompt.bench.suite import Suite
from codeprompt.bench.trackers.base import Track, curve_of, name_of, settings_of, values_of
from codeprompt.errors import UsageError


class MLflow:
    """where: a tracking URI, a folder or a server's address."""

    def __init__(self, where: str, suite: Suite) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UsageError("MLflow is not installed", do="pip install mlflow") from error
        self.client = MlflowClient(tracking_uri=where)
        found = self.client.get_experiment_by_name(suite.name)
        self.experiment = (
            found.experiment_id if found else self.client.create_experiment(suite.name)
        )

    def cell(self, result: CellResult) -> None:
        """Parameters, curve and final numbers of one cell."""
        client = self.client
        run = client.create_run(self.experiment, run_name=name_of(result)).info.run_id
        for key, value in settings_of(result).items():
            client.log_param(run, key, value)
        for step, values in curve_of(result):
            for key, number in values.items():
                client.log_metric(run, f"train/{key}", number, step=step)
        for key, number in values_of(result).items():
            client.log_metric(run, key, number)
        if result.error:
            client.set_tag(run, "error", result.error)
        client.set_terminated(run, "FINISHED" if result.status == "ok" else "FAILED")

    def tables(self, tables: Tables) -> None:
        """MLflow draws its own from the runs."""

    def close(self) -> None:
        """Nothing is held open."""


TRACKER = Track(MLflow)
