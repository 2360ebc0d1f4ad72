"""Score predictions against references with one metric."""

from __future__ import annotations

from pathlib import Path

import click

from codeprompt.cli.options import IN_FILE, Name, json_option
from codeprompt.cli.output import answer, number, say, scored
from codeprompt.registry import METRICS

EXAMPLES = """\b
Examples:
  codeprompt score codexglue-sentence-bleu --predictions out.txt --references ref.txt
  codeprompt score f1 --predictions out.jsonl --references ref.jsonl --positive defective
  codeprompt score parse-rate --predictions out.jsonl --references ref.jsonl --language java --json

Files hold one item a line, or JSONL (.jsonl) with "text", "label" and "score".
"""


@click.command("score", epilog=EXAMPLES)
@click.argument("metric", type=Name(METRICS))
@click.option("--predictions", type=IN_FILE, required=True, help="What was answered, in order.")
@click.option("--references", type=IN_FILE, required=True, help="What was right, in that order.")
@click.option("--language", help="Of the predictions, where the metric asks for one.")
@click.option("--positive", help="The label that counts as found (f1, roc-auc, ece).")
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Resamples behind the interval; 0 for none.",
)
@json_option
def score(
    metric: str,
    predictions: Path,
    references: Path,
    language: str | None,
    positive: str | None,
    bootstrap: int,
    as_json: bool,
) -> None:
    """Score predictions against references with one metric.

    Prints the value with its 95% bootstrap interval, the number of items and the signature: two
    values may be compared where their signatures are equal.
    """
    from codeprompt.metrics.files import read_items

    measure = METRICS.get(metric)
    items = read_items(predictions, references, measure.kinds[0])
    score = measure.score(items, positive=positive, language=language, bootstrap=bootstrap)
    if as_json:
        answer(score.as_json())
        return
    say(scored(score))
    for name, value in score.parts.items():
        say(f"  {name} {number(value)}")
    say(f"  {score.signature}")


COMMAND = score
