"""Full fine-tuning in the hard template, no soft tokens: the control that tells words from tuning.

If `prompt-full` beats `full` but not this arm, the gain is the template's and not the soft
prompt's.
"""

from __future__ import annotations

from codeprompt.methods._weights import FullMethod
from codeprompt.methods.base import Context, NoSettings, PromptModule


class FullTemplate(FullMethod[NoSettings]):
    """The hard template and its verbalizer, all weights."""

    settings = NoSettings

    def build(self, context: Context, settings: NoSettings) -> PromptModule:
        return self.build_full(context)


METHOD = FullTemplate()
