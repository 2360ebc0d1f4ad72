"""What each method of the suite `methods` costs: a training step and an answer, all in one run.

Rows are this package's own files, cut to `SOURCE` tokens with the prompt; the task is summaries of
`TOKENS` tokens. A step has `BATCH` rows, in the number format that a run takes by itself. An answer
is greedy, alone in its batch and float32, with what the method starts from: a method that prunes
answers with a shorter prompt than that in the end. All methods take turns within a round, so that
their ratios to the hard prompt (answers) and to the soft one (steps) are of the same moments. A
method that builds on other prompts has them tuned for two steps first, which no figure counts.
`--shape` is not read: what is measured is the backbone that ships.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.speed.measure import Outcome, interleave, medians, ratio, signature, table, timed
from benchmarks.speed.shapes import own_files
from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.load import load_backbone
from codeprompt.bench.load import load_suite
from codeprompt.bench.suite import Arm
from codeprompt.inject import Injection
from codeprompt.training.loop import Loop
from codeprompt.training.seed import backbone_with, begin_seed, with_grown
from codeprompt.training.setup import Setup, TuneRequest, prepare
from codeprompt.training.together import losses_back

BACKBONE, FILES, SHOTS, DEV, BATCH, SOURCE, TOKENS = "builtin-2", 60, 32, 4, 8, 256, 20
ENDLESS = 1_000_000
"""Steps that no run of this benchmark reaches, so that nothing is evaluated."""
PLAIN, SOFT = "hard", "soft"


@dataclass(frozen=True)
class Ready:
    """One method: a step (None where nothing is trained) and an answer."""

    step: Callable[[], object] | None
    answer: Callable[[], object]


def main(options: Namespace) -> Outcome:
    """Run the benchmark."""
    torch.set_num_threads(options.threads)
    suite = load_suite("methods")
    backbone = load_backbone(BACKBONE, allow_hub=False)
    names = [n for n, arm in suite.arms.items() if arm.method and n in (options.arms or suite.arms)]
    with tempfile.TemporaryDirectory() as folder:
        data = _rows(Path(folder) / "rows.jsonl")
        ready = {n: _ready(suite.arms[n], suite.recipe, data, backbone) for n in names}
        answers = interleave({n: timed(r.answer) for n, r in ready.items()}, options.rounds, warm=2)
        stepping = {n: timed(r.step) for n, r in ready.items() if r.step is not None}
        steps = interleave(stepping, options.rounds, warm=2)
    return _report(options, answers, steps)


def _report(
    options: Namespace, answers: dict[str, list[float]], steps: dict[str, list[float]]
) -> Outcome:
    ratios, rows = {}, []
    answer_ms, step_ms = medians(answers), medians(steps)
    for name in answers:
        row = [name, f"{answer_ms[name]:.0f}", "", "", ""]
        if PLAIN in answers:
            found = ratios[f"an answer, {name} over {PLAIN}"] = ratio(answers, name, PLAIN)
            row[2] = f"{found:.2f}"
        if name in steps:
            row[3] = f"{step_ms[name]:.0f}"
        if name in steps and SOFT in steps:
            found = ratios[f"a step, {name} over {SOFT}"] = ratio(steps, name, SOFT)
            row[4] = f"{found:.2f}"
        rows.append(row)
    table(["method", "ms an answer", f"of {PLAIN}", "ms a step", f"of {SOFT}"], rows)
    told = signature(
        backbone=BACKBONE, batch=BATCH, source=SOURCE, tokens=TOKENS, rounds=options.rounds
    )
    both = {f"an answer, {n}": v for n, v in answer_ms.items()}
    both |= {f"a step, {n}": v for n, v in step_ms.items()}
    return Outcome("methods", ratios, both, told)


def _ready(arm: Arm, recipe: str, data: Path, backbone: Backbone) -> Ready:
    setup = prepare(
        TuneRequest(
            task="summarize",
            data=str(data),
            out=data.parent / "unused",
            backbone=BACKBONE,
            method=arm.method,
            recipe=recipe,
            language="python",
            options=arm.options,
            overrides={
                **arm.overrides,
                "batch": BATCH,
                "dev": DEV,
                "shots": SHOTS,
                "source_length": SOURCE,
                "steps": 2,
                "evaluate_every": 2,
            },
            allow_hub=False,
        ),
        backbone,
    )
    if setup.grown:
        setup = replace(with_grown(setup, 0, None, None), grown=())
    recipe_now = setup.recipe.with_changes(steps=ENDLESS, evaluate_every=ENDLESS)
    setup = replace(setup, recipe=recipe_now)
    if not setup.method.trains:
        module = setup.method.build(setup.context(backbone, 0), setup.settings)
        return Ready(None, _answer(setup, module.export()))
    begun = begin_seed(setup, 0)
    asked = _answer(setup, begun.module.export())
    with begun.loop.drawing():
        begun.loop.start()
    return Ready(_step(begun.loop), asked)


def _step(loop: Loop) -> Callable[[], object]:
    def step() -> None:
        with loop.drawing():
            loop.update(losses_back([loop])[0])

    return step


def _answer(setup: Setup, injection: Injection) -> Callable[[], object]:
    own = backbone_with(setup, injection)
    decoding = Decoding(max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    plan = replace(setup.plan, backbone=own)
    prompt = Prompt(plan, own.lower(replace(injection, weights={})), decoding)
    row = Row(0, setup.pool[0].fields)
    return lambda: answer(own, [prompt], [row])


def _rows(path: Path) -> Path:
    """This package's own files, the longest first, each with its docstring's first line."""
    rows = []
    for file in own_files(FILES):
        head, _, body = file.read_text(encoding="utf-8").partition("\n")
        rows.append({"id": file.name, "code": body, "summary": head.strip('" '), "path": file.name})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
