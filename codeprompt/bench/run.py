"""A whole run: plan, report of the data, cost, cells, tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt.bench.cell import Cell
from codeprompt.bench.local import Workers
from codeprompt.bench.plan import Plan
from codeprompt.bench.queue import Queue
from codeprompt.bench.results import Tables
from codeprompt.bench.tables import make_tables

if TYPE_CHECKING:
    from codeprompt.bench.trackers.base import Tracker


@dataclass
class Runner:
    """Runs what a plan misses.

    jobs: processes on this machine; 0 works in this very process. ray: address of a cluster, in
    place of them. trackers: told of every result that comes while this runs.
    """

    plan: Plan
    root: Path | None = None
    allow_hub: bool = True
    jobs: int = 1
    ray: str | None = None
    trackers: tuple[Tracker, ...] = ()
    told: set[str] = field(default_factory=set)

    def run(self, look: Callable[[], None] = lambda: None) -> Tables:
        """Until nothing that is asked for is missing; then the tables. look: see `Workers.run`."""
        plan, folder = self.plan, self.plan.folder
        self.told = {c.hash for c in plan.asked if folder.has_result(c.hash)}

        def watched() -> None:
            self.tell()
            look()

        missing = plan.missing()
        if missing and self.ray is not None:
            from codeprompt.bench.cluster import run_on_ray

            run_on_ray(folder, missing, self.root, self.allow_hub, self.ray, watched)
        elif missing and self.jobs == 0:
            self._here(missing, watched)
        elif missing:
            threads = max(cell.threads for cell in missing)
            isolate = any(cell.isolate for cell in missing)
            workers = Workers(
                folder, missing, self.root, self.allow_hub, self.jobs, threads, isolate
            )
            workers.run(watched)
        self.tell()
        tables = make_tables(folder)
        folder.write_tables(tables)
        for tracker in self.trackers:
            tracker.tables(tables)
        return tables

    def _here(self, missing: list[Cell], look: Callable[[], None]) -> None:
        """In this process; `look` is called whenever a cell would ask whether to go on."""

        def alive() -> bool:
            look()
            return True

        Queue(self.plan.folder, missing, self.root, self.allow_hub, alive).work(wait=True)

    def tell(self) -> None:
        """Give trackers the results that have come."""
        if not self.trackers:
            return
        for cell in self.plan.asked:
            if cell.hash in self.told:
                continue
            result = self.plan.folder.result(cell.hash)
            if result is not None:
                self.told.add(cell.hash)
                for tracker in self.trackers:
                    tracker.cell(result)


def forget_failed(plan: Plan) -> int:
    """Drop the failures among the asked cells, so that they are tried again; returns how many."""
    count = 0
    for cell in plan.asked:
        result = plan.folder.result(cell.hash)
        if result is not None and result.status == "failed":
            plan.folder.drop_result(cell.hash)
            count += 1
    return count
