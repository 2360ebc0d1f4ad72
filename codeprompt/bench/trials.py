"""The trials of a cell: one training run a learning rate, each resumed where it was killed.

They go through `prepare` and `run_seed`, as `codeprompt tune` does. What is finished is kept until
the cell's result is written: the trials' numbers, and the tensors of the best so far.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from codeprompt.backbones.base import Backbone
from codeprompt.bench.cell import Cell
from codeprompt.bench.data import count_of, locate, pool
from codeprompt.bench.place import Place
from codeprompt.bench.results import Trial
from codeprompt.errors import TrainingError, UsageError
from codeprompt.files import write_bytes
from codeprompt.registry import METHODS
from codeprompt.training.evaluate import is_better
from codeprompt.training.loop import Event
from codeprompt.training.objective import Objective, Rows
from codeprompt.training.seed import SeedRun, backbone_with, run_fingerprint, run_seed
from codeprompt.training.setup import Setup, TuneRequest, prepare
from codeprompt.verbalizers import Verbalizer


@dataclass(frozen=True)
class Tried:
    """All trials, and the run that dev chose. step_ms: of that run; None where it was resumed."""

    trials: tuple[Trial, ...]
    chosen: int
    run: SeedRun
    setup: Setup
    step_ms: float | None


def setup_of(cell: Cell, place: Place, backbone: Backbone) -> Setup:
    """A cell as a tuning request made whole. Raises a `CodepromptError` where it does not fit."""
    data = cell.data
    train, dev = pool(data, "train", place.root), pool(data, "valid", place.root)
    request = TuneRequest(
        task=cell.task,
        data=locate(data.path[0], place.root),
        out=Path("unused"),
        backbone=cell.backbone,
        method=cell.method,
        recipe=cell.recipe,
        template=cell.template or None,
        seeds=(cell.seed,),
        head=_head(cell),
        columns=data.columns or None,
        language=data.language or None,
        target_language=data.target_language or None,
        overrides={"per_class": False, **cell.overrides, "shots": count_of(cell.shots, train)},
        options=cell.options,
        resume=True,
        allow_hub=place.allow_hub,
    )
    setup = replace(prepare(request, backbone), pool=train, dev_pool=dev)
    if cell.words:
        setup = replace(setup, plan=replace(setup.plan, verbalizer=_words(cell, setup)))
    return setup


def _head(cell: Cell) -> Any:
    if cell.head not in ("", "verbalizer", "linear"):
        raise UsageError(f"The head is '{cell.head}'", expected="verbalizer or linear")
    return cell.head or None


def _words(cell: Cell, setup: Setup) -> Verbalizer:
    if setup.plan.verbalizer is None or set(cell.words) != set(setup.plan.labels):
        raise UsageError(
            f"The label words are for {', '.join(cell.words)}",
            expected=f"words for {', '.join(setup.plan.labels) or 'no label: the task generates'}",
        )
    return Verbalizer.of({label: cell.words[label] for label in setup.plan.labels})


def rate_name(cell: Cell) -> str:
    """The recipe's field that a rate is: of the prompt, or of the weights where they are tuned."""
    method = METHODS.get(cell.method)
    return "lr" if method.freezes(method.configure(cell.options), ()) else "backbone_lr"


def run_trials(cell: Cell, place: Place, setup: Setup) -> Tried:
    """Every rate in turn; the best on dev wins, of equals the first.

    Raises the first trial's error where none could be ended.
    """
    rates: Sequence[float | None] = cell.rates or (place.rate,)
    known = _known(place)
    trials: list[Trial] = []
    best: tuple[int, SeedRun, Setup, float | None] | None = None
    failure: TrainingError | None = None
    metric = setup.task.metrics[0]
    for number, rate in enumerate(rates):
        own, path = _at_rate(setup, cell, rate), place.file(f"{number}.safetensors")
        old = known.get(number)
        if old is not None and old.rate == rate and _lost(old, number, known, place):
            trials.append(old)
            continue
        watch = _Watch(place, number, len(rates), rate)
        try:
            run = _run(own, cell.seed, path, watch)
        except TrainingError as error:
            failure = failure or error
            trials.append(Trial(rate=rate, dev=None, error=str(error)))
        else:
            trials.append(_trial(own, run, rate, watch, path))
            if best is None or is_better(metric, run.dev, best[1].dev):
                if best is not None:
                    _drop(place, best[0])
                best = number, run, own, watch.step_ms
            else:
                _drop(place, number)
        _remember(place, trials)
    if best is None:
        assert failure is not None
        raise failure
    return Tried(tuple(trials), best[0], best[1], best[2], best[3])


def _at_rate(setup: Setup, cell: Cell, rate: float | None) -> Setup:
    if rate is None:
        return setup
    return replace(setup, recipe=setup.recipe.with_changes(**{rate_name(cell): rate}))


def _run(setup: Setup, seed: int, path: Path | None, watch: _Watch) -> SeedRun:
    """One run; a checkpoint of other settings, or one that was cut, is not gone on with."""
    if path is not None and path.is_file() and setup.method.trains:
        found = saved_progress(path)
        if found is None or found["fingerprint"] != run_fingerprint(setup, seed, *setup.rows(seed)):
            path.unlink()
    watch.steps = setup.recipe.steps
    return run_seed(setup, seed, path, watch)


def _trial(
    setup: Setup, run: SeedRun, rate: float | None, watch: _Watch, path: Path | None
) -> Trial:
    history = watch.history
    if path is not None and (saved := saved_progress(path)):
        history = saved["history"]  # the steps before a kill too
    return Trial(
        rate=rate,
        dev=run.dev,
        dev_log_prob=dev_log_prob(setup, run),
        steps=run.steps,
        best_step=run.best_step,
        seconds=round(run.seconds, 3),
        history=tuple(history),
    )


@dataclass
class _Watch:
    """Follows one run: how far it is, its history, how long a step takes."""

    place: Place
    number: int
    count: int
    rate: float | None
    steps: int = 1
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    last: float | None = None

    def __call__(self, seed: int, event: Event) -> None:
        now = time.monotonic()
        if self.last is not None and event.dev is None:
            self.seconds.append(now - self.last)
        self.last = now
        if event.dev is not None:
            found = {"step": event.step, "loss": event.loss, "dev": event.dev}
            self.history.append({name: float(value) for name, value in found.items()})
        share = (self.number + event.step / event.steps) / self.count
        rate = "" if self.rate is None else f"rate {self.rate:g}, "
        best = "" if event.best is None else f", dev {event.best:.4g}"
        self.place.tell(0.85 * share, f"{rate}step {event.step}/{event.steps}{best}")

    @property
    def step_ms(self) -> float | None:
        """The median of the steps that no evaluation ended."""
        return 1000 * statistics.median(self.seconds) if self.seconds else None


@torch.no_grad()
def dev_log_prob(setup: Setup, run: SeedRun) -> float:
    """Mean log-probability of a dev token (or label) under the tuned prompt, in float32."""
    backbone = backbone_with(setup, run.injection)
    plan = replace(setup.plan, backbone=backbone, template=run.template)
    objective = Objective(plan, Rows.of(plan, run.dev_rows))
    rows = list(range(len(run.dev_rows)))
    total = objective.weight(rows)
    prompt = replace(run.injection, weights={})
    parts = (float(objective(prompt, rows[at : at + 16], total)) for at in range(0, len(rows), 16))
    return -sum(parts)


def saved_progress(path: Path) -> dict[str, Any] | None:
    """What a checkpoint says of its run; None for one that is cut or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Any] = json.loads((file.metadata() or {})["codeprompt"])["progress"]
            return found
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def _known(place: Place) -> dict[int, Trial]:
    """Trials that were ended before a kill."""
    path = place.file("trials.json")
    if path is None or not path.is_file():
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Trial])
    except (OSError, msgspec.DecodeError):
        return {}
    return dict(enumerate(found))


def _lost(trial: Trial, number: int, known: dict[int, Trial], place: Place) -> bool:
    """Whether an ended trial need not be looked at again: it failed, or its tensors are gone since

    another one, which is still there, was better.
    """
    if trial.error:
        return True

    def kept(at: int) -> bool:
        path = place.file(f"{at}.safetensors")
        return path is not None and path.is_file()

    return not kept(number) and any(kept(other) for other in known if other != number)


def _remember(place: Place, trials: Sequence[Trial]) -> None:
    path = place.file("trials.json")
    if path is not None:
        write_bytes(path, msgspec.json.encode(trials))


def _drop(place: Place, number: int) -> None:
    path = place.file(f"{number}.safetensors")
    if path is not None:
        path.unlink(missing_ok=True)
