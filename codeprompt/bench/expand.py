"""From a suite to its cells: the whole cross of every grid, in the order they should be run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from codeprompt.bench.cell import Cell
from codeprompt.bench.suite import Arm, DataSpec, EvaluationSpec, Grid, Shots, Suite
from codeprompt.errors import UsageError
from codeprompt.registry import METHODS, TASKS


def expand(suite: Suite) -> list[Cell]:
    """Every cell once, cheap ones of a seed before the next seed, so that any prefix is of use.

    A method that trains nothing is run once; so is a baseline that does not look at its shots.
    Raises `UsageError` where nothing is left to run or two arms say the same under two names.
    """
    cells: dict[str, Cell] = {}
    for grid in suite.grid:
        for cell in _cells(suite, grid):
            known = cells.setdefault(cell.hash, cell)
            if known.label != cell.label:
                raise UsageError(
                    f"The suite '{suite.name}' says the same twice: {known.label} and {cell.label}"
                )
    if not cells:
        raise UsageError(f"The suite '{suite.name}' has no cell to run")
    _check_labels(suite, cells.values())
    return sorted(cells.values(), key=lambda cell: cell.seed)


def _check_labels(suite: Suite, cells: Any) -> None:
    """Two cells of one label would be two rows of one name in a table."""
    labels: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        other = labels.setdefault((cell.task, cell.label), cell)
        if other is not cell and other.evaluations == cell.evaluations:
            raise UsageError(f"The suite '{suite.name}' has two unlike cells {cell.label}")


def _cells(suite: Suite, grid: Grid) -> Iterator[Cell]:
    for name, shots, seed, arm_name in itertools.product(
        grid.data, grid.shots, range(suite.seeds), grid.arms
    ):
        data, arm = suite.data[name], _varied(suite.arms[arm_name], grid.set)
        for labels, changes in _variants(grid.vary):
            varied = _varied(arm, changes)
            if arm.baseline:
                labels = ""  # what is varied is no business of a baseline: one row of it
            if not fits(varied, data) or (seed > 0 and not depends_on_seed(varied)):
                continue
            yield _cell(suite, data, varied, shots, seed, labels, _rows(suite, grid))


def _rows(suite: Suite, grid: Grid) -> tuple[EvaluationSpec, ...]:
    if not suite.reads_test:
        return ()
    return tuple(suite.evaluate[name] for name in grid.evaluate)


def _cell(
    suite: Suite,
    data: DataSpec,
    arm: Arm,
    shots: Shots,
    seed: int,
    labels: str,
    evaluations: tuple[EvaluationSpec, ...],
) -> Cell:
    common: dict[str, Any] = {
        "arm": arm.name,
        "variant": labels,
        "data": bare(data),
        "evaluations": tuple(
            replace(one, data=bare(one.data)) if one.data else one for one in evaluations
        ),
        "shots": shots if uses_shots(arm) else 0,
        "seed": seed,
        "overrides": {**suite.overrides, **arm.overrides},
        "recipe": suite.recipe,
        "bootstrap": suite.bootstrap,
    }
    if arm.baseline:
        return Cell(baseline=arm.baseline, options=arm.options, **common)
    cell = Cell(
        method=arm.method,
        backbone=exact_name(arm.backbone or suite.backbone),
        template=arm.template,
        head=arm.head,
        rates=arm.rates,
        words=arm.words,
        options=arm.options,
        beams=suite.beams,
        threads=suite.threads,
        isolate=suite.isolate,
        latency=suite.latency,
        checks=suite.checks,
        **common,
    )
    if suite.select == "first-seed" and seed > 0 and len(arm.rates) > 1:
        return replace(cell, rates=(), rates_from=replace(cell, seed=0).hash)
    return cell


def bare(data: DataSpec) -> DataSpec:
    """The data without what changes no number: such words must not change a cell's identity."""
    return replace(data, notes=(), optional=False)


def fits(arm: Arm, data: DataSpec) -> bool:
    """Whether a baseline has a meaning for the data's task; a method is tried wherever it is asked.

    A grid over several tasks may so list every baseline.
    """
    if not arm.baseline:
        return True
    from codeprompt.bench.registries import BASELINES

    return bool(BASELINES.get(arm.baseline).fits(TASKS.get(data.task)))


def depends_on_seed(arm: Arm) -> bool:
    """Whether another seed could give another number."""
    if arm.baseline:
        return uses_shots(arm)
    return bool(METHODS.get(arm.method).learns(arm.options))


def uses_shots(arm: Arm) -> bool:
    """Whether the arm learns from the rows it is given."""
    if arm.baseline:
        from codeprompt.bench.registries import BASELINES

        return bool(BASELINES.get(arm.baseline).learns)
    return bool(METHODS.get(arm.method).learns(arm.options))


def exact_name(backbone: str) -> str:
    """`builtin` as the backbone it stands for now; any other name as it is."""
    from codeprompt.backbones.checkpoint import resolve
    from codeprompt.backbones.load import BUILTINS

    return resolve(backbone).name if backbone in BUILTINS else backbone


def _variants(vary: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of what a grid varies: its label, and field to value."""
    keys = list(vary)
    for labels in itertools.product(*(vary[key] for key in keys)):
        changes = {key: vary[key][label] for key, label in zip(keys, labels, strict=True)}
        shown = (
            f"{key.rpartition('.')[2]}={label}" for key, label in zip(keys, labels, strict=True)
        )
        yield ", ".join(shown), changes


def _varied(arm: Arm, changes: Mapping[str, Any]) -> Arm:
    plain: dict[str, Any] = msgspec.to_builtins(arm)
    if arm.baseline:
        changes = {k: v for k, v in changes.items() if k.startswith("overrides.")}
    for key, value in changes.items():
        table, _, name = key.rpartition(".")
        plain |= {table: {**plain[table], name: value}} if table else {key: value}
    try:
        return msgspec.convert(plain, Arm)
    except msgspec.ValidationError as error:
        raise UsageError(f"What the grid varies does not fit the arm: {error}") from error


def chosen(
    cells: Sequence[Cell],
    arms: Sequence[str] = (),
    seeds: int | None = None,
    data: Sequence[str] = (),
    shots: Sequence[str] = (),
) -> list[Cell]:
    """The cells of some arms, data sets, shots and the first so many seeds.

    Cells that they take their rates from come along; whatever needs no shots is always in.
    """
    wanted = [
        cell
        for cell in cells
        if (not arms or cell.arm in arms)
        and (not data or cell.data.name in data)
        and (not shots or str(cell.shots) in (*shots, "0"))
        and (seeds is None or cell.seed < seeds)
    ]
    needed = {cell.rates_from for cell in wanted if cell.rates_from}
    hashes = {cell.hash for cell in wanted} | needed
    return [cell for cell in cells if cell.hash in hashes]
