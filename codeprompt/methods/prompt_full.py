"""The study's own arm: a soft prompt and every weight, tuned together.

Wang et al. 2022 (No More Fine-Tuning?), section 3: its prompt arm never freezes the backbone.
Kept apart from `soft` in name, tables and packs.
"""

from __future__ import annotations

from codeprompt.methods._slots import slots
from codeprompt.methods._weights import FullMethod
from codeprompt.methods.base import Context, PromptModule
from codeprompt.methods.soft import METHOD as SOFT
from codeprompt.methods.soft import SoftSettings
from codeprompt.template import Template


class PromptFull(FullMethod[SoftSettings]):
    """Soft slots before the hard template, all weights."""

    settings = SoftSettings

    def template(self, hard: Template, settings: SoftSettings) -> Template:
        return SOFT.template(hard, settings)

    def build(self, context: Context, settings: SoftSettings) -> PromptModule:
        return self.build_full(context, slots(context, settings.init))


METHOD = PromptFull()
