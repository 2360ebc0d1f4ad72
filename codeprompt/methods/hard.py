"""Hard prompt: words in a template and a verbalizer; nothing is trained.

Schick & Schütze 2021 (Exploiting Cloze Questions for Few-Shot Text Classification), section 3,
without their fine-tuning: the template alone speaks to the frozen backbone.
"""

from __future__ import annotations

from codeprompt.methods.base import Context, Method, NoSettings, Nothing, PromptModule


class Hard(Method[NoSettings]):
    """The template as it stands; calibration is the only thing that looks at data."""

    settings = NoSettings
    kind = "hard"
    trains = False

    def build(self, context: Context, settings: NoSettings) -> PromptModule:
        return Nothing()


METHOD = Hard()
