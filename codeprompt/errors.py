"""Every error a user can meet: what was found, what was expected, what to do next.

CodepromptError             anything the user can act upon; the command line exits with 2
├── UsageError              an option or argument that cannot be used
│   └── UnknownNameError    a name no registry has, with the nearest names
├── TemplateError           a template that does not parse or cannot be filled
├── DataError               data that is missing, malformed or too little
├── BackboneError           a checkpoint that is missing, of another architecture or unsafe to read
├── PackError               a pack that is missing, cut, changed or made for another backbone
├── TrainingError           a run that cannot start, go on or be trusted
└── EngineError             a request the engine cannot answer
    ├── QueueFullError      too many requests wait; `retry_after` says for how long to stay away
    ├── DeadlineError       the answer cannot be there in time
    └── StoppedError        whoever asked wants no answer any more
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CodepromptError(Exception):
    """An error with a way out.

    Parameters
    ----------
    found: what is the matter, in one sentence.
    expected: what would have been right (optional).
    do: what to do next (optional).
    """

    def __init__(self, found: str, *, expected: str = "", do: str = "") -> None:
        self.found, self.expected, self.do = found, expected, do
        parts = [found.rstrip()]
        if expected:
            parts.append(f"Expected {expected.rstrip()}")
        if do:
            parts.append(do.rstrip())
        super().__init__(" ".join(p if p[-1] in ".?!" else p + "." for p in parts))


class UsageError(CodepromptError):
    """An option or argument that cannot be used."""


class UnknownNameError(UsageError):
    """A name that no registry has; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        do = f"Did you mean '{near[0]}'?" if near else ""
        super().__init__(
            f"Unknown {kind} '{name}'",
            expected="one of: " + ", ".join(known) if known else "",
            do=do,
        )
        self.kind, self.name, self.known = kind, name, tuple(known)


class TemplateError(CodepromptError):
    """A template that does not parse or cannot be filled."""


class DataError(CodepromptError):
    """Data that is missing, malformed or too little."""


class BackboneError(CodepromptError):
    """A checkpoint that is missing, of another architecture or unsafe to read."""


class PackError(CodepromptError):
    """A pack that is missing, cut, changed or made for another backbone."""


class TrainingError(CodepromptError):
    """A run that cannot start, go on or be trusted."""


class EngineError(CodepromptError):
    """A request the engine cannot answer."""


class QueueFullError(EngineError):
    """Too many requests wait already."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(
            f"The engine's queue is full: {waiting} requests wait",
            do=f"Try again in {retry_after:.1f} s",
        )
        self.waiting, self.retry_after = waiting, retry_after


class DeadlineError(EngineError):
    """The answer cannot be there in time any more."""

    def __init__(self) -> None:
        super().__init__(
            "The request's deadline passed before it was answered",
            do="Allow more time, or ask again when the engine has less to do",
        )


class StoppedError(EngineError):
    """Whoever asked wants no answer any more."""

    def __init__(self) -> None:
        super().__init__("The request was stopped before it was answered")
