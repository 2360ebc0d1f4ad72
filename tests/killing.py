"""Tuning runs in processes of their own, killed at chosen moments; for `test_training_resume.py`.

Where a process shall die inside a write, its own copy of the writing function stops half-way and
says so; the product knows nothing of it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from codeprompt.pack import folder
from codeprompt.training import checkpoint
from codeprompt.training.keeping import ALWAYS
from codeprompt.training.tune import TuneRequest, tune
from tests.tiny import tiny_t5

CONTEXT = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
if sys.platform != "win32":
    CONTEXT.set_forkserver_preload(["tests.killing"])


@dataclass(frozen=True)
class Moment:
    """When a process dies: after some steps, or half-way in the n-th write of a checkpoint or pack.

    where: `step`, `checkpoint`, `pack`, or `never`.
    """

    where: str
    after: int = 1


def write_data(path: Path, rows: int = 12) -> Path:
    """A small data set and a tiny backbone; returns the folder of both."""
    words = ("sum", "list", "value", "file", "string", "node")
    lines = [
        {
            "code": f"def {words[i % 6]}_{i}(a, b):\n    return a + {i} * b\n" * (1 + i % 3),
            "docstring": f"Returns the {words[i % 6]} of {words[(i + 2) % 6]} {i}.",
            "language": "python",
        }
        for i in range(rows)
    ]
    for name, part in (("train", lines[4:]), ("valid", lines[:4])):
        (path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    tiny_t5(path / "backbone", dropout_rate=0.2)
    return path


def request_for(place: Path, out: Path, method: str, seeds: int, **overrides: Any) -> TuneRequest:
    """A run of a few dozen steps on `write_data`'s folder."""
    settings = {
        "shots": 6,
        "dev": 3,
        "batch": 2,
        "accumulate": 2,
        "steps": 12,
        "evaluate_every": 4,
        "patience": 50,
        "source_length": 40,
        "target_length": 5,
        "precision": "float32",
        **overrides,
    }
    return TuneRequest(
        task="summarize",
        data=str(place),
        out=out,
        backbone=str(place / "backbone"),
        method=method,
        seeds=tuple(range(seeds)),
        overrides=settings,
        resume=True,
        allow_hub=False,
    )


def run(request: TuneRequest, moment: Moment, pipe: Connection) -> None:
    """What the process does: tune, tell every step, stop half-way in a write if it must."""
    torch.set_num_threads(1)
    halves = Halves(moment.after, pipe)
    if moment.where == "checkpoint":
        checkpoint.save_file = halves.of(checkpoint.save_file, place=1)
    if moment.where == "pack":
        folder._write = halves.of(folder._write, place=0)
    tune(request, lambda seed, event: pipe.send(("step", seed, event.step)), ALWAYS)
    pipe.send(("done",))


class Halves:
    """A writing function that goes on as ever, but for the n-th call: that one never ends."""

    def __init__(self, after: int, pipe: Connection) -> None:
        self.left, self.pipe = after, pipe

    def of(self, write: Callable[..., Any], place: int) -> Callable[..., Any]:
        """place: of the path among the arguments."""

        def half(*args: Any, **more: Any) -> None:
            write(*args, **more)
            self.left -= 1
            if self.left == 0:
                os.truncate(args[place], os.path.getsize(args[place]) // 2)
                self.pipe.send(("writing",))
                self.pipe.recv()  # until the end

        return half


@contextmanager
def process(request: TuneRequest, moment: Moment) -> Iterator[tuple[Any, Connection]]:
    """The run in a process of its own."""
    own, other = CONTEXT.Pipe()
    child = CONTEXT.Process(target=run, args=(request, moment, other), daemon=True)
    child.start()
    other.close()
    try:
        yield child, own
    finally:
        child.kill()
        child.join()
        own.close()


def live_and_die(request: TuneRequest, moment: Moment) -> tuple[bool, list[tuple[Any, ...]]]:
    """Run until the moment; whether the run finished, and what it told."""
    told: list[tuple[Any, ...]] = []
    with process(request, moment) as (child, pipe):
        while True:
            try:
                word = pipe.recv()
            except EOFError:
                child.join()
                raise AssertionError(f"the run died by itself: {child.exitcode}, {told}") from None
            told.append(word)
            if word[0] == "done":
                return True, told
            steps = sum(w[0] == "step" for w in told)
            if word[0] == "writing" or (moment.where == "step" and steps >= moment.after):
                child.kill()
                return False, told


def moments(kills: int, seed: int) -> list[Moment]:
    """Random moments, every third of them inside a checkpoint's writing; the last in the pack's."""
    draw = random.Random(seed)
    made = [
        Moment("checkpoint" if i % 3 == 2 else "step", draw.randint(1, 3)) for i in range(kills - 1)
    ]
    return [*made, Moment("pack", draw.randint(1, 2))]
