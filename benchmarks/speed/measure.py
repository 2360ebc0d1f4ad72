"""Rounds in turn, medians, ratios; arms in processes of their own."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codeprompt.training.measure import peak_memory_mb

MARK = "@answer "
"""Before every answer on the pipe: libraries print there too."""


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


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """`run`, giving its milliseconds."""

    def once() -> float:
        started = time.perf_counter()
        run()
        return (time.perf_counter() - started) * 1e3

    return once


def interleave(
    arms: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1
) -> dict[str, list[float]]:
    """Milliseconds that each arm gives, every arm once a round, each round in another order."""
    for _ in range(warm):
        for run in arms.values():
            run()
    found: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            found[name].append(arms[name]())
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


class Alone:
    """One arm in a process of its own, asked over a pipe; it measures itself.

    Engines disturb each other within one process: a second OpenMP user, for one, makes torch's
    threads sleep between products, and halves its speed.
    """

    def __init__(self, name: str, arm: str, options: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.speed", name, "--alone", arm, *options]
        self.arm = arm
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *question: object) -> Any:
        """The answer to one question, as `serve` in the other process gives it."""
        pipe, answers = self.process.stdin, self.process.stdout
        if pipe is None or answers is None or self.process.poll() is not None:
            raise SystemExit(f"The arm '{self.arm}' has ended.")
        pipe.write(json.dumps(question) + "\n")
        pipe.flush()
        for line in answers:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise SystemExit(f"The arm '{self.arm}' failed; its error stands above.")

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()


def serve(answer: Callable[..., object]) -> None:
    """Answer `Alone.ask` until the pipe closes; `peak` is known to every arm."""
    for line in sys.stdin:
        kind, *rest = json.loads(line)
        found = peak_memory_mb() if kind == "peak" else answer(kind, *rest)
        print(MARK + json.dumps(found), flush=True)


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
