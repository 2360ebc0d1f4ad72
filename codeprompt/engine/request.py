"""What is asked of the engine, and how urgently: plain values, free of torch."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from codeprompt.backbones.decoding import Decoding


class Priority(enum.IntEnum):
    """Who waits for an answer; the lower number goes first."""

    EXPLICIT = 0
    HOVER = 1
    DIAGNOSTICS = 2
    BATCH = 3
    TRAINING = 4

    @property
    def urgent(self) -> bool:
        """Whether somebody looks at a screen and waits."""
        return self <= Priority.HOVER


@dataclass(frozen=True)
class Request:
    """One question.

    pack: the name that `Engine.load` gave. fields: what the pack's template asks for.
    decoding: in place of the pack's own.
    """

    pack: str
    fields: Mapping[str, str]
    decoding: Decoding | None = None
