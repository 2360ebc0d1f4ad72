"""Mixed prompt: hard words and soft tokens in one template, the soft ones started from words.

Wang et al. 2022 (No More Fine-Tuning?), section 3.2.3. We differ: the backbone stays frozen (the
study tunes it too: that arm is `prompt-full`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codeprompt.methods._slots import Init, SlotMethod, slots
from codeprompt.methods.base import Context, PromptModule, with_head
from codeprompt.template import Segment, Soft, Template, Text


@dataclass(frozen=True)
class MixedSettings:
    """length: soft tokens after each run of hard words. init: of those that no words start."""

    length: int = 8
    init: Init = "vocabulary"


class Mixed(SlotMethod[MixedSettings]):
    """Each run of hard words is followed by soft tokens that start as those words."""

    settings = MixedSettings

    def placed(self, hard: Template, settings: MixedSettings) -> Sequence[Segment]:
        out: list[Segment] = []
        for segment in hard.segments:
            out.append(segment)
            if isinstance(segment, Text) and any(c.isalnum() for c in segment.text):
                out.append(Soft(settings.length, init=segment.text.strip()))
        if len(out) == len(hard.segments):
            out.insert(0, Soft(settings.length))
        return out

    def build(self, context: Context, settings: MixedSettings) -> PromptModule:
        return with_head(context, slots=slots(context, settings.init))


METHOD = Mixed()
