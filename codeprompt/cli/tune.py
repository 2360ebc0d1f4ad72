"""Tune a prompt for a task on a frozen backbone, and write its pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codeprompt.cli.options import (
    BACKBONE,
    OUT_FILE,
    RECIPE,
    Name,
    json_option,
    pairs,
    settings,
)
from codeprompt.cli.output import answer, duration, note, number, say, scored, size
from codeprompt.errors import UsageError
from codeprompt.registry import METHODS, TASKS

if TYPE_CHECKING:
    from codeprompt.training.tune import TuneResult

FEW_DEV = 32
"""Fewer dev rows than this, and than were asked for, are told: they select badly."""

EXAMPLES = """\b
Examples:
  codeprompt tune summarize --data functions.jsonl --out packs/summarize
  codeprompt tune defect --data devign/ --method prefix --shots 32 --seeds 5 --out packs/defect
  codeprompt tune translate --data pairs/ --columns code=java,target=cs \\
      --language java --target-language c-sharp --out packs/java2cs
  codeprompt tune summarize --data functions.jsonl --backbone Salesforce/codet5-small \\
      --set length=50 --lr 0.1 --out packs/codet5
  codeprompt tune defect --data devign/ --method hard --out packs/untrained

Data is hub:ID, a file (JSONL, CSV, Parquet, text pairs) or a folder (CodeXGLUE's layout, one file a
split, or a source tree). `codeprompt list methods` and `list recipes` name what there is.
"""


@click.command("tune", epilog=EXAMPLES)
@click.argument("task", type=Name(TASKS))
@click.option("--data", required=True, metavar="WHERE", help="hub:ID, a file or a folder.")
@click.option("--out", type=OUT_FILE, required=True, metavar="PACK", help="The folder to write.")
@click.option("--backbone", type=BACKBONE, default="builtin", show_default=True)
@click.option("--method", type=Name(METHODS), default="soft", show_default=True)
@click.option("--recipe", type=RECIPE, default="few-shot", show_default=True)
@click.option("--template", help="In place of the task's own, e.g. 'Summarize {language}: {code}'.")
@click.option("--shots", type=click.IntRange(min=0), help="Rows to train on; 0 for all.")
@click.option("--seed", type=click.IntRange(min=0), help="One seed. [default: 0]")
@click.option("--seeds", type=click.IntRange(min=1), help="So many seeds; the best on dev is kept.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted.")
@click.option("--columns", metavar="A=B,C=D", help="Fields of the task = columns of the data.")
@click.option("--dev-data", metavar="WHERE", help="Rows to select on, if not from --data.")
@click.option("--language", help="Of the code, where the data does not say.")
@click.option("--target-language", help="Of the translation, where the data does not say.")
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A setting of the method.")
@click.option("--head", type=click.Choice(["verbalizer", "linear"]), help="Of a classifying task.")
@click.option("--lr", type=click.FloatRange(min=0), help="Learning rate.")
@click.option("--steps", type=click.IntRange(min=1), help="Of the optimiser, at most.")
@click.option("--batch", type=click.IntRange(min=1), help="Rows a step.")
@click.option("--dev", type=click.IntRange(min=1), help="Rows to select on.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bf16"]),
    help="Of the frozen backbone while training.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Rows read from a split, at most.")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads to use.")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def tune_pack(
    task: str,
    data: str,
    out: Path,
    seed: int | None,
    seeds: int | None,
    columns: str | None,
    sets: tuple[str, ...],
    threads: int | None,
    offline: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Tune a prompt for a task on a frozen backbone, and write its pack.

    Shots are drawn anew for each seed, the dev set selects, and the test split is never read. The
    pack is written whole or not at all; killed at any moment, --resume goes on.
    """
    if seed is not None and seeds is not None:
        raise UsageError("--seed and --seeds were both given", expected="one of them")
    chosen = tuple(range(seeds)) if seeds else (seed or 0,)
    names = ("shots", "lr", "steps", "batch", "dev", "precision")
    overrides = {name: value for name in names if (value := rest.pop(name)) is not None}
    plain = {**rest, "columns": pairs(columns, "--columns") or None, "options": settings(sets)}
    from codeprompt.cli.progress import TuneProgress, quiet_libraries

    if not out.name or out.name == "..":
        raise UsageError(f"--out {out} names no folder", do="Give the pack a folder of its own")
    quiet_libraries(offline=offline)
    from codeprompt.pack import check_target

    check_target(out)
    from codeprompt.training.tune import TuneRequest, tune

    if threads:
        import torch

        torch.set_num_threads(threads)
    request = TuneRequest(
        task=task,
        data=data,
        out=out,
        seeds=chosen,
        overrides=overrides,
        allow_hub=not offline,
        **plain,
    )
    metric = TASKS.get(task).metrics[0]
    note(f"Tuning {request.method} for {task} on {request.backbone} (dev: {metric}) ...")
    try:
        with TuneProgress(chosen, metric) as progress:
            result = tune(request, progress)
    except KeyboardInterrupt:
        note("Stopped. The same command with --resume goes on from the last checkpoint.")
        raise
    report(result, request.recipe, as_json)


def report(result: TuneResult, recipe: str, as_json: bool) -> None:
    """What a run gave, beside what its recipe gave where that was measured."""
    card = result.pack.card
    for reason in result.left_out:
        note(f"Left out: {reason}")
    if as_json:
        answer(answered(result))
        return
    total = sum(path.stat().st_size for path in result.path.iterdir())
    on = f"{card.method} for {card.task} on {card.backbone.name}"
    say(f"Wrote {result.path} ({size(total)}): {on}")
    for score in result.scores:
        say(f"  dev {scored(score)}")
    for line in compared(result):
        say(f"  {line}")
    if len(result.dev_scores) > 1:
        each = ", ".join(f"{s}: {number(v)}" for s, v in result.dev_scores)
        say(f"  seed {card.seed} was the best on dev ({each})")
    for told in expectations(recipe, card.task, card.method):
        say(f"  {told}")
    say(
        f"  {result.parameters:,} trained parameters, {duration(result.seconds)}, "
        f"peak memory {result.peak_memory_mb:.0f} MB"
    )
    say(
        f"  Next: codeprompt eval {result.path} --data WHERE, codeprompt predict {result.path} FILE"
    )


def answered(result: TuneResult) -> dict[str, Any]:
    """The same for a program."""
    card = result.pack.card
    return {
        "pack": str(result.path),
        "bytes": sum(path.stat().st_size for path in result.path.iterdir()),
        "task": card.task,
        "method": card.method,
        "backbone": card.backbone.name,
        "seed": card.seed,
        "dev_scores": [{"seed": s, "value": v} for s, v in result.dev_scores],
        "scores": [score.as_json() for score in result.scores],
        "untuned": result.untuned,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "peak_memory_mb": result.peak_memory_mb,
    }


def compared(result: TuneResult) -> list[str]:
    """What there was before the tuning, and how far these dev rows can be trusted."""
    from codeprompt.training.evaluate import is_better

    lines, card = [], result.pack.card
    if result.untuned is not None and result.scores:
        first = result.scores[0]
        line = f"untuned, the template alone has {number(result.untuned)} on the same rows"
        if not is_better(first.metric, first.value, result.untuned):
            line += ": this tuning did not help; try more rows, another --seed or --lr"
        lines.append(line)
    asked = card.recipe["dev"]
    if card.data.dev_rows < min(asked, FEW_DEV):
        lines.append(
            f"{card.data.dev_rows} dev rows are all there were (asked: {asked}): "
            "they say little; --dev-data brings others"
        )
    return lines


def expectations(recipe: str, task: str, method: str) -> list[str]:
    """What the recipe gave elsewhere, a line each."""
    from codeprompt.recipes import expected

    lines = []
    for row in expected(recipe):
        if (row["task"], row["method"]) == (task, method):
            around = f" {row['interval']}" if "interval" in row else ""
            lines.append(
                f"the recipe gave {row['metric']} {row['value']}{around} "
                f"({row['backbone']}, {row['setting']})"
            )
    return lines


COMMAND = tune_pack
