"""Prompt agent: pseudo-tokens, read by a small network, written after the code.

Sun et al. 2023 (A Prompt Learning Framework for Source Code Summarization: PromptCS), section 3.2:
pseudo-tokens [P,d] -> BiLSTM (d/2 each way, 2 layers) or Transformer -> Linear-ReLU-Linear; the
outcome stands behind the code (`back`, which their ablation prefers), before it (`front`) or on
both sides (`both`). For decoder-only backbones, which read the code before they meet the prompt.

Facts from their paper, not their code. We differ: the network's outcome is added to the embeddings
that the vectors start from, and its last map starts small, so that training begins at words and
not at noise (few shots do not find the way back); a template with hard words keeps them before the
prompt. After training the network is gone: a pack holds P vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from codeprompt.backbones.base import Family
from codeprompt.methods._network import Network, Written
from codeprompt.methods._slots import Init, SlotMethod, started
from codeprompt.methods.base import Context, PromptModule, with_head
from codeprompt.template import Segment, Soft, Template


@dataclass(frozen=True)
class AgentSettings:
    """length: P, unless the template has soft slots of its own; of either side where `both`.

    network: what reads the pseudo-tokens. place: where they stand. layers: of the network. init:
    what the vectors start from (see `_slots`).
    """

    length: int = 20
    network: Network = "lstm"
    place: Literal["back", "front", "both"] = "back"
    layers: int = 2
    init: Init = "vocabulary"


class PromptAgent(SlotMethod[AgentSettings]):
    """`{soft:P}` behind the hard template, written by a network while it trains."""

    settings = AgentSettings
    families: ClassVar[tuple[Family, ...]] = ("llama",)

    def placed(self, hard: Template, settings: AgentSettings) -> Sequence[Segment]:
        one = Soft(settings.length)
        front = (one,) if settings.place in ("front", "both") else ()
        back = (one,) if settings.place in ("back", "both") else ()
        return (*front, *hard.segments, *back)

    def build(self, context: Context, settings: AgentSettings) -> PromptModule:
        start = started(context, settings.init)
        return with_head(context, agent=written(start, settings, context.seed))


def written(start: Tensor, settings: AgentSettings, seed: int) -> Written:
    """The agent over its initial vectors [P,d]."""
    return Written(start, settings.network, settings.layers, seed)


METHOD = PromptAgent()
