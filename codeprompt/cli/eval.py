"""Score a pack on data it was not tuned on, with intervals."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from codeprompt.cli.options import (
    OUT_FILE,
    PACK,
    decode_options,
    engine_options,
    json_option,
    pairs,
)
from codeprompt.cli.output import answer, duration, say, scored
from codeprompt.errors import DataError
from codeprompt.registry import TASKS

EXAMPLES = """\b
Examples:
  codeprompt eval packs/summarize --data functions.jsonl
  codeprompt eval packs/defect --data devign/ --split test --limit 500 --out run.json
  codeprompt eval packs/summarize --data hub:ID --json
  codeprompt eval packs/summarize --data functions.jsonl --decode rerank

A run file keeps every item's prediction; `codeprompt compare` tests two of them against each other.
"""


@click.command("eval", epilog=EXAMPLES)
@click.argument("pack", type=PACK)
@click.option("--data", required=True, metavar="WHERE", help="hub:ID, a file or a folder.")
@click.option("--split", default="test", show_default=True, help="train, valid, test or all.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many rows.")
@click.option("--out", type=OUT_FILE, metavar="RUN.json", help="Keep every item's prediction.")
@click.option("--columns", metavar="A=B,C=D", help="Fields of the task = columns of the data.")
@click.option("--language", help="Of the code, where the data does not say.")
@click.option("--target-language", help="Of the translation, where the data does not say.")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Resamples behind the intervals; 0 for none.",
)
@decode_options
@json_option
@engine_options
def evaluate(
    pack: str,
    data: str,
    split: str,
    limit: int | None,
    out: Path | None,
    columns: str | None,
    language: str | None,
    target_language: str | None,
    bootstrap: int,
    decode: str | None,
    candidates: int,
    channel: float,
    as_json: bool,
    **engine: Any,
) -> None:
    """Score a pack on data it was not tuned on, with intervals.

    Prints every metric of the pack's task with a 95% bootstrap interval over items.
    """
    from codeprompt.cli.answering import decoding_for, opened
    from codeprompt.cli.evaluation import evaluate_rows, write
    from codeprompt.data.sources import load_data

    started = time.monotonic()
    user = pairs(columns, "--columns")
    extra = _extra(language=language, target_language=target_language)
    with opened(pack, **engine) as ready:
        task = TASKS.get(ready.card.task)
        rows = load_data(data, task.columns, split=split, columns=user, limit=limit)
        if not rows:
            raise DataError(f"{data} has no rows in the split '{split}'")
        rows = [replace(row, fields={**row.fields, **extra}) for row in rows]
        decoding = decoding_for(ready, decode, candidates, channel)
        found = evaluate_rows(ready, rows, split=split, bootstrap=bootstrap, decoding=decoding)
    if out:
        write(out, found)
    seconds = time.monotonic() - started
    if as_json:
        answer(
            {
                "scores": [score.as_json() for score in found.scores],
                "pack": found.run.pack,
                "backbone": found.run.backbone,
                "data": found.run.data,
                "split": split,
                "n": len(rows),
                "signature": found.run.signature,
                "seconds": seconds,
                "out": None if out is None else str(out),
            }
        )
        return
    for score in found.scores:
        say(scored(score))
        say(f"  {score.signature}")
    say(f"{len(rows)} rows of '{split}' in {duration(seconds)}" + (f"; run: {out}" if out else ""))


def _extra(**given: str | None) -> dict[str, str]:
    from codeprompt.languages import find_language, is_language

    return {
        name: find_language(value).name if is_language(value) else value
        for name, value in given.items()
        if value
    }


COMMAND = evaluate
