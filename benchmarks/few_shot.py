"""Frozen backbone and prompt against full fine-tuning, over seeds, on the real test sets.

    data=../shared/data
    python -m benchmarks.few_shot summarize --data $data/csn_python
    python -m benchmarks.few_shot defect --data $data/devign
    python -m benchmarks.few_shot translate --data $data/codetrans --columns code=java,target=cs

Every arm sees the same rows, steps, selection and greedy decoding; shots and dev rows are drawn
anew for each seed from what is not test, and the test rows are read once for each arm and seed.
Cells that the results file holds are not computed again. Baselines without any model stand in the
same table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeprompt.data.fingerprint import fingerprint
from codeprompt.data.sources import load_data
from codeprompt.data.split import shots as draw
from codeprompt.files import write_text
from codeprompt.metrics.base import Item
from codeprompt.metrics.seeds import seed_interval
from codeprompt.registry import TASKS
from codeprompt.types import Example

RESULTS = Path(__file__).parent / "results"
ARMS = ("hard", "soft", "full", "full-template")
CONSTANT = "Return a list of the given ."


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS.names())
    parser.add_argument("--data", required=True)
    parser.add_argument("--columns", default="")
    parser.add_argument("--shots", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--test-rows", type=int, default=1000, help="fixed test rows, 0 for all")
    parser.add_argument("--recipe", default="low-resource")
    parser.add_argument("--backbone", default="builtin")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--dev", type=int)
    args = parser.parse_args()
    columns = dict(pair.split("=") for pair in args.columns.split(",")) if args.columns else None
    test = load_data(args.data, TASKS.get(args.task).columns, split="test", columns=columns)
    if args.test_rows and args.test_rows < len(test):
        test = draw(test, args.test_rows, seed=0)
    name = f"few-shot-{args.task}-{Path(args.data).name}-{args.shots}"
    path = RESULTS / f"{'-'.join([name, *(columns or {}).values()])}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    results["setting"] = {
        **{k: getattr(args, k) for k in ("task", "shots", "recipe", "steps", "dev", "backbone")},
        "data": Path(args.data).name,
        "columns": columns,
        "test_rows": len(test),
        "test": fingerprint(test),
        "decoding": "greedy",
    }
    results["cells"] |= baselines(args.task, test)
    for arm in args.arms:
        for seed in range(1 if arm == "hard" else args.seeds):
            key = f"{arm}/{seed}"
            if key not in results["cells"]:
                print(f"{time.strftime('%H:%M:%S')} {key} ...", flush=True)
                results["cells"][key] = cell(args, arm, seed, columns, test)
                write_text(path, json.dumps(results, indent=1) + "\n")
    print(table(results))


def baselines(task: str, test: Sequence[Example]) -> dict[str, Any]:
    """What needs no model: a constant, the function's name, a copy of the input, "never"."""
    guesses: dict[str, list[str]] = {}
    if task == "summarize":
        guesses["constant sentence"] = [CONSTANT] * len(test)
    elif task == "translate":
        guesses["copy of the input"] = [e.fields["code"] for e in test]
    else:
        guesses["never"] = ["clean"] * len(test)
    out = {}
    for name, texts in guesses.items():
        items = [
            Item(prediction=text, references=(e.target,), score=0.0, id=e.id)
            for text, e in zip(texts, test, strict=True)
        ]
        out[f"{name}/0"] = scored(task, test, items) | {"parameters": 0, "seconds": 0.0}
    return out


def scored(task: str, test: Sequence[Example], items: list[Item]) -> dict[str, Any]:
    """Every metric of the task, and the share of distinct answers."""
    from codeprompt.training.evaluate import task_scores

    scores, _ = task_scores(TASKS.get(task), test, items, bootstrap=0)
    return {
        "scores": {s.metric: s.value for s in scores},
        "signatures": {s.metric: s.signature for s in scores},
        "distinct": round(len({i.prediction for i in items}) / len(items), 3),
    }


def cell(
    args: argparse.Namespace,
    arm: str,
    seed: int,
    columns: dict[str, str] | None,
    test: Sequence[Example],
) -> dict[str, Any]:
    """Tune one arm with one seed and score it on the test rows."""
    from codeprompt.answer import Prompt
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.backbones.load import load_backbone
    from codeprompt.training.evaluate import items_of, predictions
    from codeprompt.training.seed import backbone_with, run_seed
    from codeprompt.training.setup import TuneRequest, prepare

    overrides = {"shots": args.shots, "steps": args.steps, "dev": args.dev}
    request = TuneRequest(
        task=args.task,
        data=args.data,
        out=Path("unused"),
        backbone=args.backbone,
        method=arm,
        recipe=args.recipe,
        columns=columns,
        overrides={k: v for k, v in overrides.items() if v is not None},
    )
    setup = prepare(request, load_backbone(args.backbone))
    run = run_seed(setup, seed)
    backbone = backbone_with(setup, run.injection)
    plan = replace(setup.plan, backbone=backbone)
    lowered = backbone.lower(replace(run.injection, weights={}))
    prompt = Prompt(plan, lowered, Decoding(max_new_tokens=plan.target_length))
    started = time.monotonic()
    found = predictions(prompt, test)
    return scored(args.task, test, items_of(test, found)) | {
        "dev": run.dev,
        "steps": run.steps,
        "seconds": round(run.seconds, 1),
        "test_seconds": round(time.monotonic() - started, 1),
        "parameters": run.parameters,
        "backbone": f"{setup.backbone.name} {setup.backbone.hash[:16]}",
        "examples": [[e.target, p.text] for e, p in list(zip(test, found, strict=True))[:5]],
    }


def table(results: dict[str, Any]) -> str:
    """One row an arm: mean and 95% t interval over seeds of each metric; last the setting."""
    arms: dict[str, list[dict[str, Any]]] = {}
    for key, value in results["cells"].items():
        arms.setdefault(key.rpartition("/")[0], []).append(value)
    metrics = list(next(c for c in results["cells"].values() if "steps" in c)["scores"])
    heads = "".join(f"{m:>28}" for m in metrics)
    lines = [f"{'arm':<20}{'seeds':>6}{'parameters':>12}{'s a seed':>9}{'distinct':>9}{heads}"]
    for arm, cells in arms.items():
        row = f"{arm:<20}{len(cells):>6}{cells[0]['parameters']:>12,}"
        row += f"{statistics.mean(c['seconds'] for c in cells):>9.0f}"
        row += f"{statistics.mean(c['distinct'] for c in cells):>9.2f}"
        for metric in metrics:
            row += f"{written([c['scores'].get(metric, float('nan')) for c in cells]):>28}"
        lines.append(row)
    return "\n".join([*lines, json.dumps({"setting": results["setting"]})])


def written(values: list[float]) -> str:
    """`mean [low, high]`."""
    mean, around = statistics.mean(values), seed_interval(values)
    return f"{mean:.2f}" if around is None else f"{mean:.2f} [{around[0]:.2f}, {around[1]:.2f}]"


if __name__ == "__main__":
    main()
