"""Every method in one table: `python -m benchmarks.methods [RUN] [--speed FILE]`, as Markdown.

RUN: a folder of `codeprompt bench methods`. Scores, sizes and memory are its own; what a step and
an answer take is of one run of all methods, turn by turn (`python -m benchmarks.speed methods`),
since the cells of RUN were timed beside each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from codeprompt.bench.report.numbers import NONE, count, estimate, number, size
from codeprompt.bench.report.source import read
from codeprompt.bench.results import Table, TableRow

HERE = Path(__file__).parent
TASKS = ("summarize", "defect")
HEADS = ("method", "BLEU", "accuracy", "seeds", "parameters", "pack", "memory", "best at step",
         "a step", "an answer", "mixed batch", "beams", "save, load", "int8")  # fmt: skip


def lines(tables: Mapping[str, Table], ratios: Mapping[str, float]) -> Iterator[str]:
    """The table, best summaries first. tables: by task; ratios: of the speed run."""
    metrics = {task: table.metrics[0] for task, table in tables.items()}
    rows = {task: {row.arm: row for row in table.rows} for task, table in tables.items()}
    first = rows["summarize"]
    yield "| " + " | ".join(HEADS) + " |"
    yield "|" + "---|" * len(HEADS)

    def score(arm: str) -> float:
        return _mean(first.get(arm), metrics["summarize"])

    for arm in sorted({arm for some in rows.values() for arm in some}, key=score, reverse=True):
        both = [rows.get(task, {}).get(arm) for task in TASKS]
        row = next(one for one in both if one is not None)
        cost, checks = row.cost, row.checks
        cells = [
            arm,
            *[
                NONE if one is None else estimate(one.metrics.get(metrics[task]), metrics[task])
                for task, one in zip(TASKS, both, strict=True)
            ],
            ", ".join(NONE if one is None else str(len(one.seeds)) for one in both),
            count(cost.parameters) if row.kind != "baseline" else NONE,
            size(cost.storage_bytes),
            NONE if cost.peak_memory_mb is None else size(round(1e6 * cost.peak_memory_mb)),
            number(cost.best_step, 0),
            _times(ratios.get(f"a step, {arm} over soft")),
            _times(ratios.get(f"an answer, {arm} over hard")),
            *[checks.get(name, NONE) for name in HEADS[-4:]],
        ]
        yield "| " + " | ".join(cells) + " |"


def _mean(row: TableRow | None, metric: str) -> float:
    found = None if row is None else row.metrics.get(metric)
    return -1.0 if found is None or found.mean is None else found.mean


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}x"


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=HERE / "results" / "methods")
    parser.add_argument("--speed", type=Path, default=HERE / "results" / "speed-methods.json")
    options = parser.parse_args()
    ratios = json.loads(options.speed.read_text(encoding="utf-8"))["ratios"]
    found = {table.task: table for table in read(options.run).tables.tables}
    print("\n".join(lines(found, ratios)))


if __name__ == "__main__":
    main()
