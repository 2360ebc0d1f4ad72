"""What a run will take, before it starts: from earlier cells of the folder, else from a few steps.

A probe trains three steps of each arm on its own data, answers a few dev rows, and throws the
result away; arms that no probe was made for when the time for probes is over are taken for as slow
as the others are in the mean. What is left out is said: early stops make a run shorter, a busy
machine longer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import mean

from codeprompt.bench.cell import Cell
from codeprompt.bench.plan import Plan
from codeprompt.bench.results import CellResult
from codeprompt.errors import CodepromptError

STEPS, ROWS = 3, 8
PROBING_SECONDS = 90.0
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Pace:
    """Seconds of one kind of cell. fixed: to begin; trial: at one rate; row: of a test row."""

    fixed: float
    trial: float
    row: float

    def of(self, cell: Cell, rows: int) -> float:
        """Of a whole cell."""
        return self.fixed + self.trial * max(1, len(cell.rates)) + self.row * rows


@dataclass(frozen=True)
class Forecast:
    """Of what is missing. seconds: of one process; None where nothing could be measured.

    cells: with a model; baselines: without, not counted. unknown: cells that no pace was found for.
    each: seconds of every cell that one was found for, by hash.
    """

    cells: int
    baselines: int
    seconds: float | None
    unknown: int
    probed: int
    each: Mapping[str, float] = field(default_factory=dict)

    def wall(self, jobs: int) -> float | None:
        """With so many processes at once."""
        return None if self.seconds is None else self.seconds / max(1, jobs)


def estimate_cost(
    plan: Plan,
    root: Path | None,
    *,
    probe: bool = True,
    allow_hub: bool = True,
    seconds: float = PROBING_SECONDS,
    say: Callable[[str], None] = lambda text: None,
) -> Forecast:
    """The cost of a plan's missing cells. probe: measure what no earlier cell tells, so long."""
    missing = plan.missing()
    tuned = [cell for cell in missing if not cell.baseline]
    paces = _earlier(plan)
    kinds: dict[Key, Cell] = {}
    for cell in tuned:
        kinds.setdefault(_key(cell), cell)
    probed, started = 0, time.monotonic()
    for key in _in_turns(kinds):
        cell = kinds[key]
        if key in paces or not probe:
            continue
        if probed and time.monotonic() - started > seconds:
            paces[key] = _like(key, paces)
        else:
            say(f"Measures a few steps: {cell.arm} on {cell.data.name}")
            try:
                paces[key] = _probed(cell, root, allow_hub)
                probed += 1
            except CodepromptError as error:  # the cell itself will say so, in its result
                say(f"{cell.label} cannot be measured: {error}")
    known = [(cell, paces[_key(cell)]) for cell in tuned if _key(cell) in paces]
    sizes = _sizes(plan)
    each = {cell.hash: pace.of(cell, _rows(cell, sizes)) for cell, pace in known}
    return Forecast(
        cells=len(tuned),
        baselines=len(missing) - len(tuned),
        seconds=sum(each.values()) if known or not tuned else None,
        unknown=len(tuned) - len(known),
        probed=probed,
        each=each,
    )


def _key(cell: Cell) -> Key:
    return cell.data.name, cell.arm, cell.backbone


def _in_turns(kinds: Iterable[Key]) -> list[Key]:
    """One kind of each data set after the other, so that every set is measured in time."""
    seen: Counter[str] = Counter()
    turns = {}
    for key in kinds:
        seen[key[0]] += 1
        turns[key] = seen[key[0]]
    return sorted(turns, key=turns.__getitem__)


def _like(key: Key, paces: Mapping[Key, Pace]) -> Pace:
    """The mean of those on the same data, else of all."""
    near = [pace for other, pace in paces.items() if other[0] == key[0]] or list(paces.values())
    return Pace(
        mean(pace.fixed for pace in near),
        mean(pace.trial for pace in near),
        mean(pace.row for pace in near),
    )


def _sizes(plan: Plan) -> dict[tuple[str, str], int]:
    """Rows of each data set's evaluations."""
    return {
        (name, part): count
        for name, report in plan.folder.data_reports().items()
        for part, count in report.parts.items()
    }


def _rows(cell: Cell, sizes: dict[tuple[str, str], int]) -> int:
    return sum(sizes.get((cell.data.name, one.name), one.rows) for one in cell.evaluations)


def _earlier(plan: Plan) -> dict[Key, Pace]:
    found: dict[Key, list[CellResult]] = {}
    if not plan.folder.has_run():
        return {}
    for result in plan.folder.results():
        if result.status == "ok" and not result.config.baseline:
            found.setdefault(_key(result.config), []).append(result)
    return {key: _pace(several) for key, several in found.items()}


def _pace(results: Sequence[CellResult]) -> Pace:
    trials = [mean(t.seconds for t in one.trials) for one in results if one.trials]
    answering = [sum(e.seconds for e in one.evaluations) for one in results]
    rows = [sum(e.n for e in one.evaluations) for one in results]
    fixed = [
        max(0.0, one.seconds - sum(t.seconds for t in one.trials) - spent)
        for one, spent in zip(results, answering, strict=True)
    ]
    return Pace(mean(fixed), mean(trials), sum(answering) / max(1, sum(rows)))


def _probed(cell: Cell, root: Path | None, allow_hub: bool) -> Pace:
    """Three steps and a few answers of the cell itself."""
    from codeprompt.backbones.threads import computing_on
    from codeprompt.bench.place import Place
    from codeprompt.bench.trials import setup_of
    from codeprompt.bench.work import loaded
    from codeprompt.training.seed import run_seed

    started = time.monotonic()
    with computing_on(cell.threads):
        setup = setup_of(cell, Place(root, allow_hub=allow_hub), loaded(cell.backbone, allow_hub))
        fixed = time.monotonic() - started
        recipe = setup.recipe
        quick = recipe.with_changes(steps=STEPS, evaluate_every=STEPS, dev=ROWS)
        marks = [time.monotonic()]
        run = run_seed(
            replace(setup, recipe=quick), cell.seed, None, lambda *_: marks.append(time.monotonic())
        )
        ended = time.monotonic()
    if not setup.method.trains:
        row = (ended - marks[0]) / max(1, len(run.dev_rows))
        return Pace(fixed, row * recipe.dev, row * max(1, cell.beams))
    # The first step also warms up; the last one carries the answers to the dev rows.
    step = min(b - a for a, b in pairwise(marks))
    row = max(0.0, marks[-1] - marks[-2] - step) / max(1, len(run.dev_rows))
    evaluations = ceil(recipe.steps / recipe.evaluate_every)
    dev = recipe.dev or len(setup.dev_pool)
    trial = recipe.steps * step + evaluations * dev * row + (ended - marks[-1])
    return Pace(fixed, trial, row * max(1, cell.beams))
