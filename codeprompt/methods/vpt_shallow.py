"""VPT-shallow: vectors at the input, right behind the first token, under dropout.

Jia et al. 2022 (Visual Prompt Tuning), section 3.2: [CLS; P; tokens], initial values
U(-sqrt(6/(2d)), sqrt(6/(2d))), prompt dropout 0.1, backbone in eval mode. Beside `soft` it differs
in start and dropout. We differ: AdamW and a linear schedule (theirs: SGD, cosine, base rate times
batch/256), for few steps; the range is relative to the embedding's own spread, since word vectors,
unlike patches, are not of unit size. Shape: P [P,d].
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.methods._slots import SlotMethod, slots_needed
from codeprompt.methods._vectors import Vectors, spread
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class ShallowSettings:
    """length: P. dropout: on the vectors while training."""

    length: int = 20
    dropout: float = 0.1


class Shallow(SlotMethod[ShallowSettings]):
    """`{soft:P}` at the front of the hard template."""

    settings = ShallowSettings

    def build(self, context: Context, settings: ShallowSettings) -> PromptModule:
        shape = (slots_needed(context.template), context.backbone.d_model)
        return with_head(
            context,
            slots=Vectors({"slots": shape}, spread(context), settings.dropout, context.generator()),
        )


METHOD = Shallow()
