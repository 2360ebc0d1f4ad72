"""Run one cell: its trials, then the chosen prompt once on each evaluation."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codeprompt.answer import Prompt
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.load import load_backbone
from codeprompt.backbones.threads import computing_on
from codeprompt.bench.baselines.base import Ask
from codeprompt.bench.cell import Cell
from codeprompt.bench.checks import checks
from codeprompt.bench.cost import cost_of, rows_drawn
from codeprompt.bench.data import drawn
from codeprompt.bench.evaluation import evaluate
from codeprompt.bench.place import Place, environment
from codeprompt.bench.registries import BASELINES
from codeprompt.bench.results import (
    CellResult,
    ItemRecord,
)
from codeprompt.bench.store import now
from codeprompt.bench.trials import Tried, run_trials, setup_of
from codeprompt.errors import CodepromptError
from codeprompt.recipes import load as load_recipe
from codeprompt.registry import TASKS
from codeprompt.training.calibrate import label_prior
from codeprompt.training.evaluate import predictions
from codeprompt.training.seed import backbone_with
from codeprompt.types import Example, Prediction

Answer = Callable[[Sequence[Example]], list[Prediction]]


@dataclass(frozen=True)
class Done:
    """A cell's end, with every prediction."""

    result: CellResult
    items: tuple[ItemRecord, ...] = ()


def attempt(cell: Cell, place: Place) -> Done:
    """Run a cell; whatever goes wrong becomes its result, but for an interrupt."""
    began, started = now(), time.monotonic()
    try:
        done = run_cell(cell, place)
    except CodepromptError as error:
        reason = str(error)
    except MemoryError:
        reason = "MemoryError: there was too little memory"
    except Exception as error:
        where = _place_of(error)
        reason = f"{type(error).__name__}: {error} ({where})"
    else:
        result = replace(done.result, started=began, seconds=round(time.monotonic() - started, 3))
        return replace(done, result=result)
    return Done(failed(cell, reason, began, time.monotonic() - started))


def failed(cell: Cell, reason: str, began: str = "", seconds: float = 0.0) -> CellResult:
    """The result of a cell that gave none."""
    return CellResult(
        hash=cell.hash,
        config=cell,
        status="failed",
        error=reason,
        environment=environment(),
        started=began or now(),
        seconds=round(seconds, 3),
    )


def _place_of(error: Exception) -> str:
    """File and line where an unforeseen error arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def run_cell(cell: Cell, place: Place) -> Done:
    """Run a cell. Raises a `CodepromptError` where it cannot be."""
    with computing_on(cell.threads):
        return _baseline(cell, place) if cell.baseline else _tuned(cell, place)


@functools.lru_cache(maxsize=1)
def loaded(name: str, allow_hub: bool) -> Backbone:
    """The backbone that neighbouring cells share; nothing changes it."""
    return load_backbone(name, allow_hub=allow_hub)


def _baseline(cell: Cell, place: Place) -> Done:
    task, baseline = TASKS.get(cell.task), BASELINES.get(cell.baseline)
    dev = int(cell.overrides.get("dev", _recipe_dev(cell)))
    train, dev_rows = drawn(cell.data, cell.shots, dev, cell.seed, place.root)
    answer = baseline.answers(Ask(task, train, dev_rows, cell.seed))
    evaluations, items, _ = evaluate(cell, place, task, answer)
    result = CellResult(
        hash=cell.hash,
        config=cell,
        status="ok",
        evaluations=evaluations,
        drawn=rows_drawn(cell, place, train if baseline.learns else [], dev_rows),
        environment=environment(),
    )
    return Done(result, items)


def _recipe_dev(cell: Cell) -> int:
    """Dev rows of a tuned arm of the same recipe; a baseline selects on as many."""
    return load_recipe(cell.recipe, task=cell.task, method="hard", kind="hard").dev


def _tuned(cell: Cell, place: Place) -> Done:
    place.tell(0.0, "reads data and backbone")
    backbone = loaded(cell.backbone, place.allow_hub)
    setup = setup_of(cell, place, backbone)
    tried = run_trials(cell, place, setup)
    prompt = _prompt(cell, tried)

    def answer(rows: Sequence[Example]) -> list[Prediction]:
        seen = 0

        def count(more: int) -> None:
            nonlocal seen
            seen += more
            place.tell(0.85 + 0.15 * seen / len(rows), f"answers {seen}/{len(rows)}")

        return predictions(prompt, rows, on_batch=count)

    evaluations, items, rows = evaluate(cell, place, setup.task, answer)
    run = tried.run
    result = CellResult(
        hash=cell.hash,
        config=cell,
        status="ok",
        trials=tried.trials,
        chosen=tried.chosen,
        evaluations=evaluations,
        drawn=rows_drawn(cell, place, run.train, run.dev_rows),
        recipe={**asdict(tried.setup.recipe), "precision": tried.setup.precision},
        cost=cost_of(cell, tried, prompt, evaluations, rows),
        checks=checks(tried, prompt, rows) if cell.checks else {},
        backbone=backbone.name,
        backbone_hash=backbone.hash,
        environment=environment(),
    )
    return Done(result, items)


def _prompt(cell: Cell, tried: Tried) -> Prompt:
    """The chosen run as `codeprompt tune` makes a pack of it, decoded as the suite says."""
    setup, run = tried.setup, tried.run
    backbone = backbone_with(setup, run.injection)
    plan = replace(setup.plan, backbone=backbone, template=run.template)
    lowered = plan.backbone.lower(replace(run.injection, weights={}))
    beams = cell.beams or setup.task.beams
    decoding = Decoding(max_new_tokens=plan.target_length, beams=beams)
    prompt = Prompt(plan, lowered, decoding)
    if plan.verbalizer is not None and setup.recipe.calibrate:
        prior = label_prior(prompt, run.dev_rows[0])
        prompt = replace(prompt, plan=replace(plan, prior=prior))
    return prompt
