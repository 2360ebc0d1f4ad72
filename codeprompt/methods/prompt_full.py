"""The study's own arm: a soft prompt and every weight, tuned together.

Wang et al. 2022 (No More Fine-Tuning?), section 3: its prompt arm never freezes the backbone.
Kept apart from `soft` in name, tables and packs.
"""

from __future__ import annotations

from codeprompt.methods._slots import SlotMethod, slots
from codeprompt.methods._weights import FullMethod
from codeprompt.methods.base import Context, PromptModule
from codeprompt.methods.soft import SoftSettings


class PromptFull(FullMethod[SoftSettings], SlotMethod[SoftSettings]):
    """Soft slots before the hard template, all weights."""

    settings = SoftSettings

    def build(self, context: Context, settings: SoftSettings) -> PromptModule:
        return self.build_full(context, slots(context, settings.init))


METHOD = PromptFull()
