"""VPT-deep: P vectors of their own before every layer of the encoder.

Jia et al. 2022 (Visual Prompt Tuning), section 3.2: what the P positions hold is overwritten before
every layer; initial values U(-sqrt(6/(2d)), sqrt(6/(2d))), prompt dropout 0.1, backbone in eval
mode. The vectors [L,P,d] reach the backbone as the prompt columns they are (see `inject`), so they
take no positions. On an encoder-decoder `stacks` may name the decoder as well; a decoder-only
backbone has that stack alone. We differ: AdamW and a linear schedule (theirs: SGD, cosine), and the
start is relative to the embedding's spread (before T5's norms the scale is of no account).
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.errors import UsageError
from codeprompt.inject import Stack
from codeprompt.methods._vectors import Vectors, spread
from codeprompt.methods.base import Context, Method, PromptModule, with_head


@dataclass(frozen=True)
class DeepSettings:
    """length: P. dropout: on the vectors while training. stacks: empty for the first there is."""

    length: int = 16
    dropout: float = 0.1
    stacks: tuple[Stack, ...] = ()


class Deep(Method[DeepSettings]):
    """Layer vectors; the hard template stays as it is."""

    settings = DeepSettings
    kind = "columns"

    def build(self, context: Context, settings: DeepSettings) -> PromptModule:
        has = context.backbone.stacks
        for stack in settings.stacks:
            if stack not in has:
                raise UsageError(
                    f"The {context.backbone.family} family has no {stack}",
                    expected=f"stacks among {', '.join(has)}",
                )
        chosen = settings.stacks or tuple(has)[:1]
        d = context.backbone.d_model
        shapes = {str(stack): (has[stack], settings.length, d) for stack in chosen}
        return with_head(
            context,
            layers=Vectors(shapes, spread(context), settings.dropout, context.generator()),
        )


METHOD = Deep()
