"""Run a benchmark suite and print its tables; what is done is never done again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from codeprompt.cli.bench_tables import show
from codeprompt.cli.options import BACKBONE, json_option
from codeprompt.cli.output import answer, note, say, table
from codeprompt.errors import UsageError

if TYPE_CHECKING:
    from codeprompt.bench.estimate import Forecast
    from codeprompt.bench.plan import Plan
    from codeprompt.bench.results import Tables
    from codeprompt.bench.trackers.base import Tracker

    Text = click.ParamType[str]
else:  # older releases of click cannot be given the type at run time
    Text = click.ParamType

EXAMPLES = """\b
Examples:
  codeprompt bench smoke
  codeprompt bench low-resource --data ../data --dry-run
  codeprompt bench low-resource --data ../data --jobs 2 --out runs/low
  codeprompt bench low-resource --data ../data --out runs/low --arms soft,full --shots 32,100
  codeprompt bench my-suite.toml --data ../data --ray auto --tensorboard runs/board
  codeprompt bench --list

The same command again does only what is missing, whatever ended it; several commands, on one
machine or on many that see the folder, may share it. A suite is a TOML file; those that ship lie
beside the code and are good to start from.
"""


class SuiteName(Text):
    """A suite's name, or the path of one; offered by the shell."""

    name = "suite"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from codeprompt.bench.load import suite_names

        found = [CompletionItem(n) for n in suite_names() if n.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


@click.command("bench", epilog=EXAMPLES)
@click.argument("suite", type=SuiteName(), required=False)
@click.option("--list", "listed", is_flag=True, help="Name the suites that ship, and end.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder that holds the suite's data sets.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run's folder. [default: bench-SUITE]",
)
@click.option("--backbone", type=BACKBONE, help="In place of the suite's.")
@click.option(
    "--seeds", type=click.IntRange(min=1), help="So many; fewer or more than the suite's."
)
@click.option("--arms", metavar="A,B", help="These alone; the others stay missing.")
@click.option("--only", metavar="A,B", help="These data sets alone.")
@click.option("--shots", metavar="A,B", help="These numbers of shots alone.")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes on this machine; 0 works in this one.",
)
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: its address, or auto.")
@click.option("--tensorboard", metavar="DIR", help="Also write TensorBoard's event files.")
@click.option("--mlflow", metavar="URI", help="Also log to MLflow: a folder or a server.")
@click.option("--wandb", metavar="PROJECT", help="Also log to Weights & Biases.")
@click.option("--dry-run", is_flag=True, help="Say what would be run and what it takes, and end.")
@click.option("--no-estimate", is_flag=True, help="Do not measure what the run will take.")
@click.option("--retry", is_flag=True, help="Run the cells that failed before once more.")
@click.option("--offline", is_flag=True, help="Never ask a hub for models or data.")
@json_option
def bench(
    suite: str | None,
    listed: bool,
    data: Path | None,
    out: Path | None,
    backbone: str | None,
    seeds: int | None,
    arms: str | None,
    only: str | None,
    shots: str | None,
    jobs: int,
    ray: str | None,
    dry_run: bool,
    no_estimate: bool,
    retry: bool,
    offline: bool,
    as_json: bool,
    **trackers: str | None,
) -> None:
    """Run a benchmark suite and print its tables; what is done is never done again.

    Every arm has the same shots, steps, selection and decoding; learning rates are chosen on dev
    rows, test rows are read once, and differences are tested over items and over seeds.
    """
    if listed:
        _list(as_json)
        return
    if suite is None:
        raise UsageError("No suite is named", do="codeprompt bench --list names those that ship")
    from codeprompt.cli.progress import quiet_libraries

    quiet_libraries(offline=offline)
    from codeprompt.bench.load import load_suite
    from codeprompt.bench.plan import begin, changed, make_plan
    from codeprompt.bench.run import Runner, forget_failed

    asked = changed(load_suite(suite), backbone, seeds)
    plan = make_plan(
        asked,
        out or Path(f"bench-{asked.name}"),
        data,
        arms=_names(arms),
        data=_names(only),
        shots=_names(shots),
        seeds=seeds,
    )
    for name in plan.left_out:
        note(f"Left out: {name}, which is not in --data")
    if not dry_run:
        begin(plan, data, note)
        if retry and (count := forget_failed(plan)):
            note(f"Runs {count} failed cells once more")
    forecast = _forecast(plan, data, jobs, offline, probe=not no_estimate)
    if dry_run:
        _plan(plan, forecast, jobs, as_json)
        return
    with ExitStack() as stack:
        opened = _trackers(plan, trackers, stack)
        runner = Runner(plan, data, not offline, jobs, ray, opened)
        from rich.console import Console

        from codeprompt.bench.board import Board

        each = None if forecast is None else forecast.each
        board = Board(plan, Console(stderr=True), 1 if ray else jobs, each)
        try:
            with board:
                tables = runner.run(board.look)
        except KeyboardInterrupt:
            note(f"Stopped at {board.line()}. The same command goes on from there.")
            raise
    if as_json:
        answer(_as_json(plan, tables))
        return
    show(tables)
    say(f"\nThe run: {plan.folder.path} (codeprompt report {plan.folder.path} makes a page of it)")


def _names(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _list(as_json: bool) -> None:
    from codeprompt.bench.load import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    if as_json:
        answer({"suites": [{"name": s.name, "summary": s.summary} for s in suites]})
        return
    table(("suite", "what"), [(s.name, s.summary) for s in suites])


def _forecast(
    plan: Plan, data: Path | None, jobs: int, offline: bool, *, probe: bool
) -> Forecast | None:
    from codeprompt.bench.board import spoken
    from codeprompt.bench.estimate import estimate_cost

    missing = plan.missing()
    done = len(plan.asked) - len(missing)
    if not missing:
        note(f"All {done} cells are done; nothing is missing")
        return None
    found = estimate_cost(plan, data, probe=probe, allow_hub=not offline, say=note)
    time = found.wall(jobs)
    takes = "time unknown" if time is None or not found.cells else f"about {spoken(time)}"
    beside = f" and {found.baselines} without a model" if found.baselines else ""
    more = f"; {found.unknown} of unknown cost" if found.unknown and time is not None else ""
    note(
        f"{plan.suite.name}: {found.cells} cells to run{beside}, {done} done before; "
        f"{takes} with {jobs or 1} {'process' if jobs < 2 else 'processes'}{more}"
    )
    return found


def _plan(plan: Plan, forecast: Forecast | None, jobs: int, as_json: bool) -> None:
    missing = {cell.hash for cell in plan.missing()}
    if as_json:
        cells = [
            {"cell": c.label, "task": c.task, "hash": c.hash, "done": c.hash not in missing}
            for c in plan.asked
        ]
        wall = None if forecast is None else forecast.wall(jobs)
        answer({"suite": plan.suite.name, "cells": cells, "missing": len(missing), "seconds": wall})
        return
    say(plan.suite.question)
    for cell in plan.asked:
        say(f"  {'run ' if cell.hash in missing else 'done'}  {cell.hash}  {cell.label}")


def _trackers(plan: Plan, wanted: dict[str, str | None], stack: ExitStack) -> tuple[Tracker, ...]:
    from codeprompt.bench.registries import TRACKERS

    opened = []
    for name, where in wanted.items():
        if where is not None:
            tracker: Tracker = TRACKERS.get(name).open(where, plan.suite)
            stack.callback(tracker.close)
            opened.append(tracker)
    return tuple(opened)


def _as_json(plan: Plan, tables: Tables) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(tables)
    return {"folder": str(plan.folder.path), **found}


COMMAND = bench
