"""Full fine-tuning: every weight is tuned on the bare input, no prompt.

The control arm "fine-tuning" of Wang et al. 2022, section 3: the template keeps only the fields; an
encoder classifies by a linear head on its first hidden state, an encoder-decoder writes the label.
"""

from __future__ import annotations

from codeprompt.backbones.base import Family
from codeprompt.methods._weights import FullMethod
from codeprompt.methods.base import Context, HeadKind, NoSettings, PromptModule
from codeprompt.template import Field, Template


class Full(FullMethod[NoSettings]):
    """No hard word, no soft token: the longest field alone, all weights."""

    settings = NoSettings

    def template(self, hard: Template, settings: NoSettings) -> Template:
        fields = [s for s in hard.segments if isinstance(s, Field)]
        bare = [f for f in fields if f.cut] or fields
        return Template(tuple(bare[:1]))

    def head(self, family: Family) -> HeadKind:
        return "linear" if family == "roberta" else "verbalizer"

    def build(self, context: Context, settings: NoSettings) -> PromptModule:
        return self.build_full(context)


METHOD = Full()
