"""The study's low-resource claim in numbers, beside ours: `python -m benchmarks.claims [RUN]`.

Published: the gain of `prompt-full` over `full` at each number of shots, from the means over six
languages that the study prints (`codeprompt/bench/published.toml`); the paper's own headline is a
mean over languages first, and higher. RUN: a folder of `codeprompt bench`, for the same gains from
our own arms, and for what needs no training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from codeprompt.bench.published import published
from codeprompt.bench.report.source import read
from codeprompt.bench.results import Contrast, Table

METRIC = "codexglue-sentence-bleu"
HEADLINE = (100, 200, 300, 500, 1000)
"""The shots over which the study's +26% is a mean."""


def gains(backbone: str) -> dict[int, tuple[float, float, float]]:
    """Shots to the published means of fine-tuning and of prompts, and the relative gain."""
    found: dict[tuple[str, int], float] = {
        (one.arm, one.shots): one.value
        for one in published()
        if one.data == "csn-mean-of-six"
        and one.backbone == backbone
        and isinstance(one.shots, int)
        and one.metric == METRIC
    }
    return {
        shots: (found["full", shots], found["prompt-full", shots],
                found["prompt-full", shots] / found["full", shots] - 1)
        for shots in HEADLINE
    }  # fmt: skip


def study() -> Iterator[str]:
    """The published table as gains."""
    for backbone in ("CodeT5-small", "CodeT5-base"):
        found = gains(backbone)
        yield f"{backbone} (published): fine-tuned -> prompt, relative gain"
        for shots, (before, after, gain) in found.items():
            yield f"  {shots:5} shots  {before:5.2f} -> {after:5.2f}  {gain:+.1%}"
        yield f"  mean of the gains {fmean(gain for _, _, gain in found.values()):+.1%}"


def ours(table: Table) -> Iterator[str]:
    """What needs no training, then every tested pair with its relative gain."""
    yield f"ours: {table.title}, {table.n} rows, {table.backbone}"
    for row in table.rows:
        mean = row.metrics[METRIC].mean if METRIC in row.metrics else None
        if row.kind in ("untrained", "baseline") and mean is not None:
            shots = f", {row.shots} shots" if row.shots else ""
            yield f"  {row.name}{shots}: {mean:.2f}"
    for one in table.contrasts:
        if one.a not in ("constant", "hard"):
            yield f"  {_told(one)}"


def _told(one: Contrast) -> str:
    winner = {"a": f"{one.a} better", "b": f"{one.b} better", "tie": "a tie"}[one.winner]
    seeds = "1 seed" if one.one_seed else f"{one.seeds} seeds"
    gain = "" if one.relative is None else f" ({one.relative:+.1%})"
    return (
        f"{one.shots} shots, {one.b} over {one.a}: {one.difference:+.2f}{gain}, "
        f"p = {one.p_holm:.3g} (Holm), {seeds}: {winner}"
    )


def main() -> None:
    """Print the study's gains, and a run's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path)
    run = parser.parse_args().run
    print("\n".join(study()))
    if run is not None:
        for table in read(run).tables.tables:
            if table.metrics[:1] == (METRIC,):
                print("\n".join(ours(table)))


if __name__ == "__main__":
    main()
