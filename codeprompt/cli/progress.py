"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from codeprompt.cli.output import duration, note, number, printable, say

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from codeprompt.training.loop import Event

QUIET_SECONDS = 15.0
"""Without a terminal, a line at least this far from the one before (or where there is news)."""


def is_live() -> bool:
    """Whether stderr is a terminal that a bar can be drawn on."""
    return sys.stderr.isatty()


class Counter(AbstractContextManager["Counter"]):
    """So many of so many things done. `advance` may be called as often as one likes.

    total: None where nobody knows. what: the things, in the plural.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.started = self.told = time.monotonic()

    def __enter__(self) -> Self:
        if is_live():
            self.bar = _bar("{task.completed:.0f} {task.fields[what]}")
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total, what=self.what)
        return self

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.done)
        elif time.monotonic() - self.told > QUIET_SECONDS:
            self.told = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            note(f"{self.done}{of} {self.what} ({duration(self.told - self.started)})")

    def reach(self, done: int, total: int) -> None:
        """So many of so many are done."""
        if self.total != total:
            self.total = total
            if self.bar is not None and self.task is not None:
                self.bar.update(self.task, total=total)
        self.advance(done - self.done)

    def say(self, text: str) -> None:
        """A line of the answer on stdout; above the bar where both are on one terminal."""
        if self.bar is not None and sys.stdout.isatty():
            self.bar.console.print(
                printable(text), soft_wrap=True, markup=False, highlight=False, emoji=False
            )
        else:
            say(text)
            sys.stdout.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()


class TuneProgress(AbstractContextManager["TuneProgress"]):
    """What `tune` tells while it runs: step, loss, dev score, best, time left.

    The time left is that of all steps; an early stop makes it shorter.
    """

    def __init__(self, seeds: tuple[int, ...], metric: str) -> None:
        self.seeds, self.metric = seeds, metric
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.seed: int | None = None
        self.first, self.began = 0, 0.0
        self.dev: float | None = None
        self.told = time.monotonic()

    def __enter__(self) -> Self:
        if is_live():
            self.bar = _bar("{task.fields[news]}", left="{task.fields[left]} left")
            self.bar.start()
        return self

    def __call__(self, seed: int, event: Event) -> None:
        if seed != self.seed:
            self._begin(seed, event)
        if event.dev is not None:
            self.dev = event.dev
        left = duration(self._left(event)) if event.step > self.first else "?"  # no pace yet
        best = "" if event.best is None else f"best {number(event.best)}"
        dev = "" if self.dev is None else f"dev {number(self.dev)}"
        news = "  ".join(part for part in (f"loss {event.loss:.3f}", dev, best) if part)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=event.step, news=news, left=left)
        elif event.dev is not None or time.monotonic() - self.told > QUIET_SECONDS:
            self.told = time.monotonic()
            note(f"seed {seed}  step {event.step}/{event.steps}  {news}  {left} left")

    def _begin(self, seed: int, event: Event) -> None:
        self.seed, self.dev = seed, None
        # A resumed run counts the seconds before it too; what matters is its pace from here on.
        self.first, self.began = event.step, time.monotonic()
        if self.bar is not None:
            if self.task is not None:
                self.bar.update(self.task, left=duration(0))
                self.bar.stop_task(self.task)
            turn = f" ({self.seeds.index(seed) + 1} of {len(self.seeds)})"
            name = f"seed {seed}" + (turn if len(self.seeds) > 1 else "")
            self.task = self.bar.add_task(name, total=event.steps, news="", left="?")
        elif len(self.seeds) > 1:
            note(f"seed {seed}: {self.seeds.index(seed) + 1} of {len(self.seeds)}")

    def _left(self, event: Event) -> float:
        pace = (time.monotonic() - self.began) / (event.step - self.first)
        assert self.seed is not None
        later = len(self.seeds) - 1 - self.seeds.index(self.seed)
        return pace * (event.steps - event.step + later * event.steps)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()


def quiet_libraries(*, offline: bool = False) -> None:
    """Keep the bars and notices of libraries out of our output; CODEPROMPT_DEBUG shows them.

    offline: also keep them from the network. To be called before they are imported.
    """
    import os
    import warnings

    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    if os.environ.get("CODEPROMPT_DEBUG"):
        return
    warnings.simplefilter("ignore")
    for name in (
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "TRANSFORMERS_VERBOSITY",
        "TOKENIZERS_PARALLELISM",
    ):
        os.environ.setdefault(name, {"TRANSFORMERS_VERBOSITY": "error"}.get(name, "1"))


def _bar(news: str, left: str | None = None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn(news),
        TimeElapsedColumn(),
    ]
    if left:
        columns.append(TextColumn(left))
    # stdout stays where it is: rich would send it to stderr, and with it a piped answer.
    return Progress(*columns, console=Console(stderr=True), redirect_stdout=False)
