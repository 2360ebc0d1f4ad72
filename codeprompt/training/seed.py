"""One seed of a tuning run: its rows, its training, the guard at its end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import codeprompt
from codeprompt.answer import Prompt
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.variant import own_copy, with_weights
from codeprompt.data.fingerprint import fingerprint as data_fingerprint
from codeprompt.inject import Injection
from codeprompt.methods.base import Given, PromptModule
from codeprompt.template import Template
from codeprompt.training import guard
from codeprompt.training.evaluate import dev_score, is_better
from codeprompt.training.keeping import Keeping
from codeprompt.training.loop import Event, Loop, Outcome
from codeprompt.training.setup import Setup, prepare
from codeprompt.types import Example

OnEvent = Callable[[int, Event], None]


@dataclass(frozen=True)
class SeedRun:
    """What one seed gave: its dev score, what was tuned, and the rows it saw.

    template: of what was tuned. chosen: what dev decided, of a method that trains nothing.
    """

    seed: int
    dev: float
    injection: Injection
    parameters: int
    steps: int
    best_step: int
    seconds: float
    train: list[Example]
    dev_rows: list[Example]
    template: Template
    chosen: Mapping[str, Any] = field(default_factory=dict)


def run_seed(
    setup: Setup,
    seed: int,
    path: Path | None = None,
    on_event: OnEvent | None = None,
    keeping: Keeping | None = None,
) -> SeedRun:
    """Train one seed; the setup's own backbone is left as it was.

    path: of the checkpoint; None keeps nothing. keeping: see `Keeping`.
    """
    if setup.method.trains:
        begun = begin_seed(setup, seed, path, on_event, keeping)
        return end_seed(begun, begun.loop.run())
    train, dev = setup.rows(seed)
    if setup.grown:
        setup = with_grown(setup, seed, path, keeping)
    method, started = setup.method, time.monotonic()
    module = method.build(setup.context(setup.backbone, seed), setup.settings)
    parameters = sum(p.numel() for p in module.trained())
    chosen, injection, score = _chosen(setup, module, dev)
    took, template = time.monotonic() - started, setup.template
    return SeedRun(seed, score, injection, parameters, 0, 0, took, train, dev, template, chosen)


@dataclass
class Begun:
    """A seed whose next step can be taken. before: the backbone's hash, where it stays as it is."""

    setup: Setup
    seed: int
    module: PromptModule
    loop: Loop
    before: str
    started: float


def begin_seed(
    setup: Setup,
    seed: int,
    path: Path | None = None,
    on_event: OnEvent | None = None,
    keeping: Keeping | None = None,
    frozen: Backbone | None = None,
) -> Begun:
    """As `run_seed` of a method that trains, up to its first step (or that of `--resume`).

    frozen: in place of the setup's own frozen backbone, the same for several setups.
    """
    train, dev = setup.rows(seed)
    if setup.grown:
        setup = with_grown(setup, seed, path, keeping)
    method, started = setup.method, time.monotonic()
    backbone = frozen or (setup.frozen_backbone if setup.freezes else own_copy(setup.backbone))
    before = guard.fingerprint(backbone) if setup.freezes else ""
    module = method.build(setup.context(backbone, seed), setup.settings)
    loop = Loop(
        replace(setup.plan, backbone=backbone),
        module,
        setup.recipe,
        train,
        dev,
        seed=seed,
        metric=setup.task.metrics[0],
        decoding=setup.decoding(final=False),
        fingerprint=run_fingerprint(setup, seed, train, dev),
        path=path,
        on_event=None if on_event is None else lambda event: on_event(seed, event),
        keeping=keeping,
        cast=setup.precision == "bf16" and not setup.freezes,
    )
    if setup.request.resume:
        loop.resume()
    return Begun(setup, seed, module, loop, before, started)


def end_seed(begun: Begun, outcome: Outcome) -> SeedRun:
    """What a finished loop gave. Raises `TrainingError` where the guard finds fault with it."""
    module, loop = begun.module, begun.loop
    setup = with_template(begun.setup, module.fitted(begun.setup.template))
    loop.forget()  # the optimiser's moments go before the export is made
    injection = module.export()
    check(setup, loop.backbone, begun.before, injection, loop.dev[0])
    return SeedRun(
        begun.seed,
        outcome.best_score,
        injection,
        sum(p.numel() for p in module.trained()),
        outcome.steps,
        outcome.best_step,
        time.monotonic() - begun.started,
        list(loop.train),
        list(loop.dev),
        setup.template,
    )


def with_template(setup: Setup, template: Template) -> Setup:
    """The setup of a prompt that training has changed the template of."""
    return replace(setup, template=template, plan=replace(setup.plan, template=template))


def _chosen(
    setup: Setup, module: PromptModule, dev: list[Example]
) -> tuple[Mapping[str, Any], Injection, float]:
    """The candidate with the best dev score, of equals the first."""
    metric, decoding = setup.task.metrics[0], setup.decoding(final=False)
    best: tuple[Mapping[str, Any], Injection, float] | None = None
    for what, injection in module.candidates():
        backbone = backbone_with(setup, injection)
        lowered = backbone.lower(replace(injection, weights={}))
        plan = replace(setup.plan, backbone=backbone)
        score = dev_score(Prompt(plan, lowered, decoding), dev, metric)
        if best is None or is_better(metric, score, best[2]):
            best = what, injection, score
    assert best is not None  # there is always one
    return best


def with_grown(setup: Setup, seed: int, path: Path | None, keeping: Keeping | None) -> Setup:
    """The setup with packs to build on, which are tuned now on this very seed's rows."""
    train, dev = setup.rows(seed)
    given = list(setup.given[: len(setup.given) - len(setup.grown)])
    for place, name in enumerate(setup.grown):
        request = replace(setup.request, method=name, options={}, head=None)
        own = prepare(request, setup.backbone, like=setup)
        recipe = own.recipe.with_changes(shots=0, dev=0)
        own = replace(own, pool=train, dev_pool=dev, recipe=recipe)
        file = None if path is None else path.with_name(f"{path.stem}-{name}-{place}{path.suffix}")
        run = run_seed(own, seed * len(setup.grown) + place, file, None, keeping)
        given.append(Given(f"{name}-{place}", run.injection, run.template))
    return replace(setup, given=tuple(given))


def check(
    setup: Setup, backbone: Backbone, before: str, injection: Injection, example: Example
) -> None:
    """The guard, on the float32 backbone that will answer. Raises `TrainingError`."""
    if setup.freezes:
        guard.check_frozen(backbone, before)
    else:
        guard.check_tuned(setup.backbone, dict(injection.weights))
    plan = replace(setup.plan, backbone=backbone_with(setup, injection))
    prompt = replace(injection, weights={})
    if replace(prompt, head=None).tensors():  # a head alone reads the backbone and changes nothing
        guard.check_acts(plan, prompt, example)
    if setup.task.kind == "generate":
        guard.check_agrees(plan, prompt, example)


def backbone_with(setup: Setup, injection: Injection) -> Backbone:
    """The float32 backbone that answers for an injection; tuned weights are shared, not copied."""
    if not injection.weights:
        return setup.backbone
    return with_weights(setup.backbone, injection.weights)


def run_fingerprint(setup: Setup, seed: int, train: list[Example], dev: list[Example]) -> str:
    """A hash over all that decides a run's numbers, but the thread count."""
    request = setup.request
    parts: dict[str, Any] = {
        "task": request.task,
        "method": request.method,
        "settings": setup.method.recorded(setup.settings, setup.given),
        "recipe": asdict(setup.recipe),
        "precision": setup.precision,
        "template": str(setup.template),
        "head": setup.head,
        "backbone": setup.backbone.hash,
        "train": data_fingerprint(train),
        "dev": data_fingerprint(dev),
        "seed": seed,
        "versions": [codeprompt.__version__, torch.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
