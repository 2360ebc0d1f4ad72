"""Compare two runs of `eval` on the same rows with a paired test."""

from __future__ import annotations

from pathlib import Path

import click

from codeprompt.cli.options import IN_FILE, Name, json_option
from codeprompt.cli.output import answer, say
from codeprompt.registry import METRICS

EXAMPLES = """\b
Examples:
  codeprompt eval packs/soft --data test.jsonl --out soft.json
  codeprompt eval packs/full --data test.jsonl --out full.json
  codeprompt compare soft.json full.json
  codeprompt compare soft.json full.json --metric chrf --json
"""


@click.command("compare", epilog=EXAMPLES)
@click.argument("run_a", type=IN_FILE)
@click.argument("run_b", type=IN_FILE)
@click.option(
    "--metric",
    "metrics",
    type=Name(METRICS),
    multiple=True,
    help="Compare under this one (repeat for more); all that both runs report without it.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Resamples of the paired bootstrap.",
)
@json_option
def compare(
    run_a: Path, run_b: Path, metrics: tuple[str, ...], bootstrap: int, as_json: bool
) -> None:
    """Compare two runs of `eval` on the same rows with a paired test.

    McNemar's exact test where an item is right or wrong, else a paired bootstrap. The difference is
    B - A; with several metrics, p is also given corrected for their number (Holm), and the
    corrected one decides.
    """
    from codeprompt.metrics.compare import compare_runs, holm
    from codeprompt.metrics.runs import read_run

    a, b = read_run(run_a), read_run(run_b)
    found = compare_runs(a, b, metrics or None, bootstrap=bootstrap)
    corrected = holm([one.p for one in found])
    if as_json:
        rows = [
            {**one.as_json(), "p_holm": p, "better": one.better(p)}
            for one, p in zip(found, corrected, strict=True)
        ]
        answer({"a": a.pack, "b": b.pack, "n": len(a.items), "comparisons": rows})
        return
    say(f"A = {a.pack} ({run_a}), B = {b.pack} ({run_b})")
    for one, p in zip(found, corrected, strict=True):
        say(one.verdict())
        if len(found) > 1 and one.better(p) != one.better():
            say(f"  corrected for {len(found)} comparisons (Holm) p = {p:.3g}: a tie")


COMMAND = compare
