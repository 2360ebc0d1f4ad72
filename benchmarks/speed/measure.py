"""Rounds in turn, medians, ratios; peak memory of an arm in a process of its own."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Outcome:
    """What a benchmark prints last: ratios are "times faster", medians milliseconds."""

    name: str
    ratios: dict[str, float]
    medians: dict[str, float]
    signature: str
    extra: dict[str, object] = field(default_factory=dict)

    def line(self) -> str:
        """One JSON line."""
        rounded = {
            "name": self.name,
            "ratios": {k: round(v, 3) for k, v in self.ratios.items()},
            "medians": {k: round(v, 2) for k, v in self.medians.items()},
            "signature": self.signature,
            **self.extra,
        }
        return json.dumps(rounded)


def interleave(
    arms: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of each arm, every arm once a round, each round in another order."""
    for _ in range(warm):
        for run in arms.values():
            run()
    found: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            started = time.perf_counter()
            arms[name]()
            found[name].append((time.perf_counter() - started) * 1e3)
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each arm."""
    return {name: statistics.median(times) for name, times in found.items()}


def ratio(found: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times faster: the median over rounds of the ratio within a round.

    Whatever else the machine does falls on the arms of one round alike.
    """
    return statistics.median(a / b for a, b in zip(found[slow], found[fast], strict=True))


def peak_memory(name: str, arm: str, options: Sequence[str]) -> float:
    """Peak resident MB (10^6 bytes) of a fresh process that loads one arm and runs it twice."""
    command = [sys.executable, "-m", "benchmarks.speed", name, "--alone", arm, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"The arm '{arm}' failed alone:\n{done.stderr[-2000:]}")
    return float(done.stdout.strip().splitlines()[-1])


def own_peak() -> float:
    """This process's peak resident MB; on Linux from its own start, not its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    from codeprompt.training.measure import peak_memory_mb

    return peak_memory_mb()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*heads)
    for column in drawn.columns[1:]:
        column.justify = "right"
    for row in rows:
        drawn.add_row(*row)
    Console(width=110).print(drawn)


def signature(**facts: object) -> str:
    """What it takes to read the numbers again."""
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    found = {**facts, **versions, "processor": _processor(), "threads": torch.get_num_threads()}
    return "|".join(f"{k}:{v}" for k, v in found.items())


def _processor() -> str:
    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return str(told.get("cpu_name") or platform.processor() or platform.machine()).replace("|", " ")
