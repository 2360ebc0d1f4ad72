"""What is asked of the engine: plain values, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codeprompt.backbones.decoding import Decoding


@dataclass(frozen=True)
class Request:
    """One question.

    pack: the name that `Engine.load` gave. fields: what the pack's template asks for.
    decoding: in place of the pack's own.
    """

    pack: str
    fields: Mapping[str, str]
    decoding: Decoding | None = None
