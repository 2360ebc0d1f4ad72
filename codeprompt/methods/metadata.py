"""Metadata-aware template: path, class and imports of a function stand beside its code.

A hard prompt whose slots are metadata, as metadata-aware prompts (PRIME-like) fill them, with soft
tokens in front of each that start as the field's own name. Where a function lives says what its
tokens often do not: `tests/`, `Parser`, `socket`. The backbone stays frozen; fields may be cut
before the code is cut short (an equal share to each). The fields are those that `harvest` writes
and that `predict`, `check` and the service know of a file; a data set without them must map its
columns (`--columns path=file_name`) or leave them out (`--set fields=path`). No field may hold the
reference: `tune` refuses rows where it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codeprompt.errors import UsageError
from codeprompt.methods._slots import Init, SlotMethod, slots
from codeprompt.methods.base import Context, PromptModule, with_head
from codeprompt.template import Field, Segment, Soft, Template, Text

Known = Literal["path", "class", "imports", "name", "repo", "project"]


@dataclass(frozen=True)
class MetadataSettings:
    """fields: in the order in which they stand. length: soft tokens before each, and before the
    code. init: of those that no name starts.
    """

    fields: tuple[Known, ...] = ("path", "class", "imports")
    length: int = 4
    init: Init = "vocabulary"


class Metadata(SlotMethod[MetadataSettings]):
    """A line for each field, then the hard template."""

    settings = MetadataSettings

    def placed(self, hard: Template, settings: MetadataSettings) -> Sequence[Segment]:
        if not settings.fields or len(set(settings.fields)) < len(settings.fields):
            raise UsageError(
                f"The fields are {', '.join(settings.fields) or 'none'}",
                expected="one or more, all unlike",
            )
        out: list[Segment] = []
        for name in settings.fields:
            if name in hard.fields:
                continue
            out += [
                Soft(settings.length, init=name),
                Text(f"{name.capitalize()}: "),
                Field(name),
                Text("\n"),
            ]
        return (*out, Soft(settings.length), *hard.segments)

    def build(self, context: Context, settings: MetadataSettings) -> PromptModule:
        return with_head(context, slots=slots(context, settings.init))


METHOD = Metadata()
