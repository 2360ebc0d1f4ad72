"""Mixed prompt: hard words and soft tokens in one template, the soft ones started from words.

Wang et al. 2022 (No More Fine-Tuning?), section 3.2.3. We differ: the backbone stays frozen (the
study tunes it too: that arm is `prompt-full`).
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.methods._slots import Init, slots
from codeprompt.methods.base import Context, Method, PromptModule, with_head
from codeprompt.template import Segment, Template, Text
from codeprompt.template import Soft as SoftSegment


@dataclass(frozen=True)
class MixedSettings:
    """length: soft tokens after each run of hard words. init: of those that no words start."""

    length: int = 8
    init: Init = "vocabulary"


class Mixed(Method[MixedSettings]):
    """Each run of hard words is followed by soft tokens that start as those words."""

    settings = MixedSettings
    kind = "prompt"

    def template(self, hard: Template, settings: MixedSettings) -> Template:
        if hard.soft:
            return hard
        out: list[Segment] = []
        for segment in hard.segments:
            out.append(segment)
            if isinstance(segment, Text) and any(c.isalnum() for c in segment.text):
                out.append(SoftSegment(settings.length, init=segment.text.strip()))
        if len(out) == len(hard.segments):
            out.insert(0, SoftSegment(settings.length))
        return Template(tuple(out))

    def build(self, context: Context, settings: MixedSettings) -> PromptModule:
        return with_head(context, slots=slots(context, settings.init))


METHOD = Mixed()
