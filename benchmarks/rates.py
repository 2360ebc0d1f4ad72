"""Learning rates of a recipe, by method: short runs over a grid, the same rows for all.

    python -m benchmarks.rates summarize --data ../shared/data/csn_python \\
        --methods soft prefix lora --rates 0.003 0.01 0.03 0.1 --steps 100

Prints a table: best dev score, mean log-probability of a dev token (the smoother of the two), the
step it was best at, seconds a step. The test split is never read.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codeprompt.backbones.load import load_backbone
from codeprompt.errors import TrainingError
from codeprompt.registry import METHODS, TASKS
from codeprompt.training.objective import Objective, Rows
from codeprompt.training.seed import SeedRun, backbone_with, run_seed
from codeprompt.training.setup import Setup, TuneRequest, prepare


def main() -> None:
    """Run the grid and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS.names())
    parser.add_argument("--data", required=True)
    parser.add_argument("--columns", default="")
    parser.add_argument("--backbone", default="builtin")
    parser.add_argument("--methods", nargs="+", default=["soft"])
    parser.add_argument("--rates", nargs="+", type=float, required=True)
    parser.add_argument("--optimizer", choices=["adamw", "adafactor"], default="adamw")
    parser.add_argument("--schedule", choices=["constant", "linear", "cosine"], default="linear")
    parser.add_argument("--recipe", default="few-shot")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--dev", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=1, help="of which the best is kept")
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print("| method | optimizer | lr | steps | dev score | dev log-prob | best step | s/step |")
    print("|---|---|---|---|---|---|---|---|")
    for method in args.methods:
        for rate in args.rates:
            print(row(args, method, rate), flush=True)


def row(args: argparse.Namespace, method: str, rate: float) -> str:
    """One line of the table: means over the seeds."""
    which = "lr" if METHODS.get(method).frozen else "backbone_lr"
    overrides: dict[str, Any] = {
        which: rate,
        "optimizer": args.optimizer,
        "schedule": args.schedule,
        "steps": args.steps,
        "shots": args.shots,
        "dev": args.dev,
        "evaluate_every": max(1, args.steps // args.evaluations),
        "patience": 99,
    }
    columns = dict(pair.split("=") for pair in args.columns.split(",")) if args.columns else None
    request = TuneRequest(
        args.task,
        args.data,
        Path("unused"),
        args.backbone,
        method,
        args.recipe,
        columns=columns,
        overrides=overrides,
    )
    setup = prepare(request, load_backbone(args.backbone))
    scores, log_probs, steps, seconds = [], [], [], []
    for seed in range(args.seeds):
        began = time.monotonic()
        try:
            run = run_seed(setup, seed)
        except TrainingError as error:
            what = f"| {method} | {args.optimizer} | {rate:g} | {args.steps} "
            return f"{what}| {error.found} | | | |"
        scores.append(run.dev)
        log_probs.append(dev_log_prob(setup, run))
        steps.append(run.best_step)
        seconds.append((time.monotonic() - began) / run.steps)
    mean = statistics.mean
    return (
        f"| {method} | {args.optimizer} | {rate:g} | {args.steps} | {mean(scores):.2f} | "
        f"{mean(log_probs):.4f} | {mean(steps):.0f} | {mean(seconds):.2f} |"
    )


@torch.no_grad()
def dev_log_prob(setup: Setup, run: SeedRun) -> float:
    """Mean log-probability of a dev token (or label) under the tuned prompt, in float32."""
    backbone = backbone_with(setup, run.injection)
    objective = Objective(replace(setup.plan, backbone=backbone), Rows.of(setup.plan, run.dev_rows))
    rows = list(range(len(run.dev_rows)))
    total = objective.weight(rows)
    prompt = replace(run.injection, weights={})
    return -sum(float(objective(prompt, rows[i : i + 16], total)) for i in range(0, len(rows), 16))


if __name__ == "__main__":
    main()
