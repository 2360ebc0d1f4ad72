"""What keeping the states below a late prompt is worth: one training step, batch 8.

Rows are this package's own files, cut to 256 tokens with the prompt; targets have 32 tokens; the
prompt has 10 vectors. Arms: a soft prompt, which passes every layer at every step; a late prompt
(the middle of the encoder) whose rows pass every layer at every step; the same with what lies below
it kept, after the pass that fills the cache. Late arms must give the same loss.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed.measure import Outcome, interleave, medians, ratio, signature, table, timed
from benchmarks.speed.shapes import checkpoint, own_files
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.load import load_backbone
from codeprompt.methods.base import Context
from codeprompt.plan import Plan
from codeprompt.registry import METHODS
from codeprompt.template import parse, resolve
from codeprompt.training.objective import Objective, Rows
from codeprompt.types import Example

ROWS, BATCH, SOURCE, TARGET, PROMPT = 32, 8, 256, 32, 10


def main(options: Namespace) -> Outcome:
    """Run the benchmark."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        backbone = load_backbone(str(checkpoint(options.shape, Path(folder) / "checkpoint")))
        arms = {
            "soft": step_of(backbone, "soft", keep=False),
            "late": step_of(backbone, "late", keep=False),
            "late, kept": step_of(backbone, "late", keep=True),
        }
        first = {name: arms[name]() for name in ("late", "late, kept")}
        if abs(first["late"] - first["late, kept"]) > 1e-3 * first["late"]:
            raise SystemExit(f"The late arms give other losses: {first}.")
        found = interleave({n: timed(run) for n, run in arms.items()}, options.rounds, warm=4)
    middle = medians(found)
    table(["arm", "ms a step"], [[name, f"{middle[name]:.0f}"] for name in arms])
    ratios = {
        "kept over not kept": ratio(found, "late", "late, kept"),
        "kept over soft": ratio(found, "soft", "late, kept"),
    }
    told = signature(
        shape=options.shape, batch=BATCH, source=SOURCE, target=TARGET, rounds=options.rounds
    )
    return Outcome("kept-states", ratios, middle, told)


def step_of(backbone: Backbone, name: str, *, keep: bool) -> Callable[[], float]:
    """A step that updates one method's prompt over the next rows; gives the loss before it."""
    method = METHODS.get(name)
    settings = method.configure({"length": PROMPT})
    hard = parse("{code}")
    template = resolve(method.template(hard, settings), backbone.tokenizer)
    plan = Plan(backbone, template, "generate", SOURCE, TARGET, (), None, None)
    module = method.build(Context(backbone, template), settings)
    objective = Objective(plan, rows_of(plan, ROWS))
    objective.states.fits = keep
    optimizer = torch.optim.AdamW(module.trained(), lr=1e-3)
    count = 0

    def step() -> float:
        nonlocal count
        start = count * BATCH % ROWS
        count += 1
        some = range(start, start + BATCH)
        optimizer.zero_grad(set_to_none=True)
        loss = objective(module(), some, objective.weight(some))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    return step


def rows_of(plan: Plan, count: int) -> Rows:
    """So many of this package's own files, the longest first."""
    texts = [file.read_text(encoding="utf-8") for file in own_files(count)]
    return Rows.of(plan, [Example({"code": text}, text[:400]) for text in texts])
