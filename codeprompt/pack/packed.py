"""A pack in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codeprompt.inject import Injection
from codeprompt.pack.card import Card
from codeprompt.pack.parts import read_template, read_verbalizer
from codeprompt.template import Template
from codeprompt.verbalizers import Verbalizer


@dataclass(frozen=True, eq=False)
class Pack:
    """An Injection with its card. path: where it was read from, None where it is only in memory."""

    card: Card
    injection: Injection
    path: Path | None = None

    @cached_property
    def template(self) -> Template:
        """The resolved template."""
        return read_template(self.card)

    @cached_property
    def verbalizer(self) -> Verbalizer | None:
        """Label words, where the task has labels."""
        return read_verbalizer(self.card)
