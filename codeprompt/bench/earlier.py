"""The first runs' files (`benchmarks/results/few-shot-*.json`) as a table of today.

They keep scores and no predictions, so there is nothing to test: means and intervals alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from codeprompt.bench.results import Cost, Table, TableRow
from codeprompt.bench.tables import estimate
from codeprompt.errors import DataError
from codeprompt.registry import METRICS, TASKS

Kind = Literal["baseline", "untrained", "frozen", "weights"]
KINDS: dict[str, Kind] = {"hard": "untrained", "soft": "frozen"}


def read_few_shot(path: Path) -> Table:
    """The table of one file. Raises `DataError` for any other file."""
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        setting, cells = found["setting"], found["cells"]
        arms: dict[str, dict[int, dict[str, Any]]] = {}
        for key, cell in cells.items():
            arm, _, seed = key.rpartition("/")
            arms.setdefault(arm, {})[int(seed)] = cell
        task = TASKS.get(setting["task"])
        rows = tuple(_row(arm, own, setting["shots"]) for arm, own in arms.items())
        some = next(iter(cells.values()))
        there = {name for row in rows for name in row.metrics}
        metrics = tuple(name for name in task.metrics if name in there)
        columns = setting["columns"] or {}
        return Table(
            title=f"{task.name} on {setting['data']}, few-shot run",
            task=task.name,
            data="-".join([setting["data"].replace("_", "-"), *columns.values()]),
            evaluation="test",
            form="tokens" if task.name == "summarize" else "text",
            backbone=setting["backbone"],
            n=setting["test_rows"],
            metrics=metrics,
            higher_is_better={name: METRICS.get(name).higher_is_better for name in metrics},
            signatures=some["signatures"],
            rows=rows,
            notes=(f"Rates are the recipe's ({setting['recipe']}), {setting['steps']} steps.",),
        )
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no result of a few-shot run: {error}", expected="few-shot-TASK-DATA-K.json"
        ) from error


def _row(arm: str, cells: dict[int, dict[str, Any]], shots: int) -> TableRow:
    seeds = tuple(sorted(cells))
    ordered = [cells[seed] for seed in seeds]
    trained = "steps" in ordered[0]
    names = dict.fromkeys(name for cell in ordered for name in cell["scores"])
    return TableRow(
        arm=arm,
        kind=KINDS.get(arm, "weights") if trained else "baseline",
        shots=shots if trained and arm != "hard" else 0,
        variant="",
        cells=tuple(f"{arm}/{seed}" for seed in seeds),
        seeds=seeds,
        metrics={name: estimate([cell["scores"].get(name) for cell in ordered]) for name in names},
        dev=estimate([cell["dev"] for cell in ordered]) if trained else None,
        distinct=sum(cell["distinct"] for cell in ordered) / len(ordered),
        cost=Cost(
            parameters=ordered[0]["parameters"],
            train_seconds=sum(cell["seconds"] for cell in ordered) / len(ordered),
        ),
    )
