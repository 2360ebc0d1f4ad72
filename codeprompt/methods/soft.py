"""Soft prompt: trained vectors before the input, backbone frozen.

Lester, Al-Rfou & Constant 2021 (The Power of Scale for Parameter-Efficient Prompt Tuning),
section 2. We differ: the vectors stand before the template's hard words, not before the bare
input, since on small backbones few-shot training starts better from an instruction that already
works; 20 vectors rather than 100, for they share 512 positions with the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.methods._slots import Init, slots
from codeprompt.methods.base import Context, Method, PromptModule, with_head
from codeprompt.template import Soft as SoftSegment
from codeprompt.template import Template


@dataclass(frozen=True)
class SoftSettings:
    """length: P, unless the template has soft slots of its own. init: see `_slots`."""

    length: int = 20
    init: Init = "vocabulary"


class SoftPrompt(Method[SoftSettings]):
    """`{soft:P}` at the front of the hard template."""

    settings = SoftSettings
    kind = "prompt"

    def template(self, hard: Template, settings: SoftSettings) -> Template:
        if hard.soft:
            return hard
        return Template((SoftSegment(settings.length), *hard.segments))

    def build(self, context: Context, settings: SoftSettings) -> PromptModule:
        return with_head(context, slots=slots(context, settings.init))


METHOD = SoftPrompt()
