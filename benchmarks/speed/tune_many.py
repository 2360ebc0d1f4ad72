"""What one batch for several prompts costs: a training step of four packs, together and in turn.

Soft prompts of 10 vectors, `--batch` rows each, of this package's own files: alike (all cut to 256
tokens) or unlike (two packs of 256 tokens, two of 64, which the batch pads). Both ways must give
every pack the same loss.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.kept_states import PROMPT, rows_of
from benchmarks.speed.measure import Outcome, interleave, medians, ratio, signature, table, timed
from benchmarks.speed.shapes import checkpoint
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.load import load_backbone
from codeprompt.methods.base import Context, PromptModule
from codeprompt.passes import Asked, passed_together
from codeprompt.plan import Plan
from codeprompt.registry import METHODS
from codeprompt.template import parse, resolve
from codeprompt.training.objective import Objective

PACKS, BATCH, TARGET = 4, 2, 32
SOURCES = {"alike": (256, 256, 256, 256), "unlike": (256, 256, 64, 64)}


@dataclass(frozen=True)
class Run:
    """One pack while it trains."""

    plan: Plan
    module: PromptModule
    objective: Objective
    optimizer: torch.optim.Optimizer


def main(options: Namespace) -> Outcome:
    """Run the benchmark."""
    torch.set_num_threads(options.threads)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        backbone = load_backbone(str(checkpoint(options.shape, Path(folder) / "checkpoint")))
        for kind, lengths in SOURCES.items():
            runs = [run_of(backbone, length) for length in lengths]
            alone, together = [float(one(runs)) for one in (in_turn, at_once)]
            if abs(alone - together) > 1e-3 * alone:
                raise SystemExit(f"The two ways give other losses: {alone} and {together}.")
            arms: dict[str, Callable[[], object]] = {
                f"{kind}, in turn": lambda runs=runs: in_turn(runs),  # type: ignore[misc]
                f"{kind}, together": lambda runs=runs: at_once(runs),  # type: ignore[misc]
            }
            timers = {name: timed(arm) for name, arm in arms.items()}
            found |= interleave(timers, options.rounds, warm=2)
    middle = medians(found)
    table(["four packs", "ms a step"], [[name, f"{middle[name]:.0f}"] for name in found])
    ratios = {
        f"{kind}, in turn over together": ratio(found, f"{kind}, in turn", f"{kind}, together")
        for kind in SOURCES
    }
    told = signature(shape=options.shape, packs=PACKS, batch=BATCH, rounds=options.rounds)
    return Outcome("tune-many", ratios, middle, told)


def run_of(backbone: Backbone, length: int) -> Run:
    """A soft prompt, and rows of one length for it."""
    method = METHODS.get("soft")
    settings = method.configure({"length": PROMPT})
    template = resolve(method.template(parse("{code}"), settings), backbone.tokenizer)
    plan = Plan(backbone, template, "generate", length, TARGET, (), None, None)
    module = method.build(Context(backbone, template), settings)
    objective = Objective(plan, rows_of(plan, BATCH))
    return Run(plan, module, objective, torch.optim.SGD(module.trained(), lr=0.0))


def in_turn(runs: Sequence[Run]) -> Tensor:
    """A step of each, one after the other; the sum of their losses."""
    total = torch.zeros(())
    for run in runs:
        run.optimizer.zero_grad(set_to_none=True)
        some = range(BATCH)
        loss = run.objective(run.module(), some, run.objective.weight(some))
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        total += loss.detach()
    return total


def at_once(runs: Sequence[Run]) -> Tensor:
    """A step of all in one batch, as `training/together.py` takes it."""
    some = list(range(BATCH))
    asked = []
    for run in runs:
        run.optimizer.zero_grad(set_to_none=True)
        lowered = run.plan.backbone.lower(run.module())
        asked.append(Asked(run.plan, lowered, run.objective.rendered(some)))
    losses = [
        run.objective.loss(passed, some, run.objective.weight(some))
        for run, passed in zip(runs, passed_together(asked), strict=True)
    ]
    total = torch.stack(losses).sum()
    total.backward()  # type: ignore[no-untyped-call]
    for run in runs:
        run.optimizer.step()
    return total.detach()
