"""OFA prompt tuning: columns in the self-attention of encoder and decoder, not in cross-attention.

Yang et al. 2022 (Prompt Tuning for Generative Multimodal Pretrained Models), section 3: prompt
embeddings of length 64 in every layer of both stacks, lr 0.03. They report it as robust to
perturbed inputs as fine-tuning is not; `codeprompt bench robustness` asks that of code. It differs
from `ptuning-v2` in length and in having no dropout. We differ in the start: real activations
rather than noise, as in `prefix`; `text=""` gives theirs. Shapes: key, value [L,H,P,h] a site.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeprompt.methods.base import Context, Method, PromptModule, with_head
from codeprompt.methods.ptuning_v2 import FreeColumns, PTuningV2Settings


@dataclass(frozen=True)
class OfaSettings(PTuningV2Settings):
    """As those of `ptuning-v2`."""

    length: int = 64
    dropout: float = 0.0


class Ofa(Method[OfaSettings]):
    """Columns of both stacks."""

    settings = OfaSettings
    kind = "columns"

    def build(self, context: Context, settings: OfaSettings) -> PromptModule:
        return with_head(context, columns=FreeColumns(context, settings))


METHOD = Ofa()
