"""See it work: tune a prompt on 64 functions of an installed package, beside its controls."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codeprompt.cli.options import BACKBONE, json_option
from codeprompt.cli.output import answer, note, say, size, table
from codeprompt.errors import CodepromptError, UsageError

if TYPE_CHECKING:
    from codeprompt.types import Example

EXAMPLES = """\b
Examples:
  codeprompt demo
  codeprompt demo --package rich --seeds 5
  codeprompt demo --quick

Three arms on the same functions: a hard prompt with no training, a soft prompt on the frozen
backbone, and full fine-tuning. Each arm runs in a process of its own, so that its peak memory is
its own. Training, selection and test never share a module.
"""
METRIC = "codexglue-sentence-bleu"
ARMS = {
    "hard": "hard prompt, no training",
    "soft": "frozen + soft prompt",
    "full": "full fine-tuning",
}
SHOTS, DEV, TEST, SEEDS = 64, 48, 100, 3
STEPS, BATCH, EVALUATE_EVERY = 64, 8, 32
"""Of every arm alike; so many that a slow pair of cores is done in ten minutes, set-up included."""
QUICK = {"test": 32, "seeds": 2, "steps": 40}
PARTS = {"train": 0.5, "valid": 0.2, "test": 0.3}


@click.command("demo", epilog=EXAMPLES)
@click.option("--package", default="networkx", show_default=True, help="Its functions are used.")
@click.option("--backbone", type=BACKBONE, default="builtin", show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), help=f"Runs of each arm. [default: {SEEDS}]")
@click.option(
    "--steps", type=click.IntRange(min=1), help=f"Of training, at most. [default: {STEPS}]"
)
@click.option("--quick", is_flag=True, help="Fewer seeds, steps and functions: a first look.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".codeprompt/demo"),
    show_default=True,
    help="Where data, runs and packs go.",
)
@json_option
def demo(
    package: str,
    backbone: str,
    seeds: int | None,
    steps: int | None,
    quick: bool,
    out: Path,
    as_json: bool,
) -> None:
    """See it work: tune a prompt on 64 functions of an installed package, beside its controls."""
    test = QUICK["test"] if quick else TEST
    seeds = seeds or (QUICK["seeds"] if quick else SEEDS)
    steps = steps or (QUICK["steps"] if quick else STEPS)
    rows = _data(package, out, test)
    note(
        f"{package}: {rows['train']} functions to draw {SHOTS} from, {rows['valid']} to select "
        f"on, {rows['test']} held out, all three from different modules"
    )
    recipe = {
        "shots": SHOTS,
        "dev": DEV,
        "steps": steps,
        "batch": BATCH,
        "evaluate_every": EVALUATE_EVERY,
    }
    asked = {"folder": str(out), "backbone": backbone, "seeds": seeds, "recipe": recipe}
    arms = [_run({**asked, "method": method}) for method in ARMS]
    best = max(arms[1]["runs"], key=lambda run: run["dev"])
    example = _example(out, arms[0]["runs"][0], best)
    total = sum(path.stat().st_size for path in Path(best["pack"]).iterdir())
    if as_json:
        answer(
            {
                "package": package,
                "rows": rows,
                "metric": METRIC,
                "recipe": recipe,
                "arms": arms,
                "example": example,
                "pack": best["pack"],
                "bytes": total,
            }
        )
        return
    _show(arms, example, package, backbone)
    say(f"\nThe pack: {best['pack']} ({size(total)}). Try it on code of yours:")
    say(f"  codeprompt predict {best['pack']} FILE")


def _data(package: str, out: Path, test: int) -> dict[str, int]:
    """Write train, valid and test rows of a package, no module in two of them."""
    from codeprompt.data.harvest import as_row, harvest, need_examples
    from codeprompt.data.split import shots, split_by_group
    from codeprompt.files import write_text

    folder = _folder(package)
    note(f"Harvesting {package} ...")
    examples = need_examples(harvest(folder, languages=["python"]), folder)
    if len(examples) < 2 * (SHOTS + DEV):
        raise UsageError(
            f"'{package}' has {len(examples)} documented functions",
            expected=f"at least {2 * (SHOTS + DEV)}",
            do="Name a larger package with --package",
        )
    parts = split_by_group(examples, PARTS, seed=0)
    # A sample over all held-out modules, the same for every arm and every time.
    parts["test"] = shots(parts["test"], min(test, len(parts["test"])), seed=0)
    for name, rows in parts.items():
        lines = (json.dumps(as_row(row)) for row in rows)
        write_text(out / "data" / f"{name}.jsonl", "".join(line + "\n" for line in lines))
    return {name: len(rows) for name, rows in parts.items()}


def _folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"There is no package '{package}' in this Python",
            expected="the import name of an installed package with several modules",
            do=f"Install it (pip install {package}), or name another with --package",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    """One arm, all its seeds, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "codeprompt.cli.demo_arm", json.dumps(asked)],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        raise CodepromptError(
            f"The arm '{asked['method']}' of the demo ended with status {done.returncode}",
            do="Its reason stands above; a process that was killed may have lacked memory",
        )
    from codeprompt.metrics.seeds import seed_interval

    found: dict[str, Any] = json.loads(done.stdout)
    values = [run["bleu"] for run in found["runs"]]
    return {
        "arm": ARMS[asked["method"]],
        "method": asked["method"],
        "bleu": sum(values) / len(values),
        "interval": seed_interval(values),
        **found,
    }


def _example(out: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """The held-out function whose gain is the median of all: neither the best nor the worst."""
    from codeprompt.metrics.codexglue_sentence_bleu import sentence_bleu
    from codeprompt.metrics.runs import read_run

    first = {item.id: item for item in read_run(Path(before["run"])).items}
    second = read_run(Path(after["run"])).items
    gains = sorted(
        second,
        key=lambda item: (
            sentence_bleu(item.prediction, item.references)
            - sentence_bleu(first[item.id].prediction, item.references)
        ),
    )
    middle = gains[len(gains) // 2]
    return {
        "function": middle.id,
        "reference": middle.references[0],
        "before": first[middle.id].prediction,
        "after": middle.prediction,
    }


def _show(
    arms: Sequence[dict[str, Any]], example: dict[str, str], package: str, backbone: str
) -> None:
    say(f"{METRIC} on held-out functions of {package}, {SHOTS} shots, backbone {backbone}:\n")
    rows = []
    for arm in arms:
        around = " to ".join(f"{edge:.2f}" for edge in arm["interval"] or ()) or "-"
        rows.append(
            (
                arm["arm"],
                f"{arm['bleu']:.2f}",
                around,
                len(arm["runs"]),
                f"{arm['parameters']:,}",
                f"{arm['seconds']:.0f}",
                f"{arm['peak_memory_mb']:.0f}",
            )
        )
    heads = ("arm", "BLEU", "95% over seeds", "seeds", "trained parameters", "s a seed", "peak MB")
    table(heads, rows)
    say(f"\nA function whose gain is the median of all, {example['function']}:")
    for name in ("reference", "before", "after"):
        say(f"  {name:<9}  {example[name]}")


def rows_of(path: Path) -> list[Example]:
    """The rows that `_data` wrote, in their order."""
    from codeprompt.data.sources import load_data
    from codeprompt.registry import TASKS

    return load_data(path, TASKS.get("summarize").columns, split="test")


COMMAND = demo
