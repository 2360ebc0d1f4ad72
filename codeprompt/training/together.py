"""Mixed-task batches: several prompts learn at once, every row of a batch with its own.

Lester et al. 2021 (The Power of Scale): a frozen model takes rows of many
tasks in one batch, each behind its own prompt. Here this trains, too: the rows of all runs pass the
encoder together, each run's loss and gradients are its own (a prompt sees its own rows alone), and
each keeps its order of rows, optimiser, dev set, early stop, random numbers and checkpoint. So
every run is the run that it would be alone, but for rounding. Decoders run task by task, since
targets are short and of unlike length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from codeprompt.backbones.load import load_backbone
from codeprompt.errors import UsageError
from codeprompt.pack import check_target
from codeprompt.passes import Asked, Passed, passed_together
from codeprompt.training.keeping import Keeping
from codeprompt.training.loop import Event, Loop, Outcome
from codeprompt.training.seed import begin_seed, end_seed
from codeprompt.training.setup import Setup, TuneRequest, prepare
from codeprompt.training.tune import Best, TuneResult, checkpoint_folder

OnNews = Callable[[TuneRequest, int, Event], None]


def run_together(loops: Sequence[Loop]) -> list[Outcome]:
    """Loops on one frozen backbone to their ends, in step; a run that is done leaves the batch."""
    for loop in loops:
        with loop.drawing():
            loop.start()
    while live := [loop for loop in loops if not loop.progress.finished]:
        for loop, loss in zip(live, losses_back(live), strict=True):
            with loop.drawing():
                loop.update(loss)
    return [loop.end() for loop in loops]


def losses_back(loops: Sequence[Loop]) -> list[float]:
    """Every loop's loss on its next rows, and its gradients in its parameters."""
    batches = [loop.batch() for loop in loops]
    totals = [0.0] * len(loops)
    for loop in loops:
        loop.optimizer.zero_grad(set_to_none=True)
    for part in range(max(len(parts) for parts, _ in batches)):
        places = [n for n, (parts, _) in enumerate(batches) if part < len(parts)]
        some = [loops[n] for n in places]
        rows = [batches[n][0][part] for n in places]
        losses = _losses(some, rows, [batches[n][1] for n in places])
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        for n, loss in zip(places, losses, strict=True):
            totals[n] += loss.item()
    return totals


def _losses(
    loops: Sequence[Loop], rows: Sequence[list[int]], totals: Sequence[int]
) -> list[Tensor]:
    found: list[Passed | None] = []
    asked: list[Asked] = []
    for loop, own in zip(loops, rows, strict=True):
        with loop.drawing():
            lowered = loop.backbone.lower(loop.module())
        kept = loop.objective.kept(lowered, own)  # its encoder is what it always was
        found.append(kept)
        if kept is None:
            asked.append(Asked(loop.plan, lowered, loop.objective.rendered(own)))
    fresh = iter(passed_together(asked) if asked else [])
    return [
        loop.objective.loss(next(fresh) if one is None else one, own, total)
        for loop, one, own, total in zip(loops, found, rows, totals, strict=True)
    ]


def tune_together(
    requests: Sequence[TuneRequest],
    on_news: OnNews | None = None,
    keeping: Keeping | None = None,
) -> list[TuneResult]:
    """As `tune` of each request, with all prompts in one batch; the n-th seeds run together.

    on_news: called with the request, the seed and an `Event` after every step of each.
    Raises a `CodepromptError` as `tune`, and where requests cannot share a backbone.
    """
    started = time.monotonic()
    _check(requests)
    for request in requests:
        check_target(request.out)
    backbone = load_backbone(requests[0].backbone, allow_hub=requests[0].allow_hub)
    setups = [prepare(request, backbone) for request in requests]
    _check_shared(setups)
    frozen = setups[0].frozen_backbone
    found = [Best(setup) for setup in setups]
    with ExitStack() as stack:
        folders = [stack.enter_context(checkpoint_folder(request)) for request in requests]
        for seeds in zip(*(request.seeds for request in requests), strict=True):
            begun = [
                begin_seed(
                    setup,
                    seed,
                    folder / f"seed-{seed}.safetensors",
                    None if on_news is None else _told(on_news, setup.request),
                    keeping,
                    frozen,
                )
                for setup, seed, folder in zip(setups, seeds, folders, strict=True)
            ]
            outcomes = run_together([own.loop for own in begun])
            for best, own, outcome in zip(found, begun, outcomes, strict=True):
                best.take(end_seed(own, outcome))
        return [best.packed(started) for best in found]


def _told(on_news: OnNews, request: TuneRequest) -> Callable[[int, Event], None]:
    return lambda seed, event: on_news(request, seed, event)


def _check(requests: Sequence[TuneRequest]) -> None:
    """What can be told before anything is read."""
    if not requests:
        raise UsageError("There is nothing to tune", expected="one request or more")
    outs = [request.out.resolve() for request in requests]
    if len(set(outs)) < len(outs):
        twice = next(out for out in outs if outs.count(out) > 1)
        raise UsageError(f"Two packs would be written to {twice}", do="Give each its own")
    for what in ("backbone", "allow_hub"):
        if len(found := {getattr(request, what) for request in requests}) > 1:
            raise UsageError(
                f"The packs name unlike backbones: {', '.join(sorted(map(str, found)))}",
                expected="one that all prompts are tuned on",
            )
    if len(counts := {len(request.seeds) for request in requests}) > 1:
        raise UsageError(
            f"The packs have {' and '.join(map(str, sorted(counts)))} seeds",
            expected="as many for each",
        )


def _check_shared(setups: Sequence[Setup]) -> None:
    """Raise `UsageError` where one frozen backbone cannot serve all."""
    for setup in setups:
        name, method = setup.request.method, setup.method
        if not (setup.freezes and method.mixable and method.trains):
            raise UsageError(
                f"The method '{name}' of {setup.request.out} cannot share a batch",
                expected="a method that trains a prompt on a frozen backbone",
                do="Tune it alone with `codeprompt tune`",
            )
        if setup.recipe.dropout:
            raise UsageError(
                f"The recipe of {setup.request.out} trains with the backbone's dropout, whose "
                "draws would depend on the other packs",
                do="Set dropout = false, or tune it alone",
            )
    if len({setup.precision for setup in setups}) > 1:
        raise UsageError("The packs are tuned in unlike precisions", expected="one for all")
