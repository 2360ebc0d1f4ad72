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

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Family
from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods._slots import Init, slots
from codeprompt.methods.base import Context, Method, PromptModule, with_head
from codeprompt.template import Soft, Template

SMALL = 0.1
"""The scale of the last map's initial weights."""
HEADS = 4


@dataclass(frozen=True)
class AgentSettings:
    """length: P, unless the template has soft slots of its own; of either side where `both`.

    network: what reads the pseudo-tokens. place: where they stand. layers: of the network. init:
    what the vectors start from (see `_slots`).
    """

    length: int = 20
    network: Literal["lstm", "transformer"] = "lstm"
    place: Literal["back", "front", "both"] = "back"
    layers: int = 2
    init: Init = "vocabulary"


class Agent(PromptModule):
    """The pseudo-tokens and the network; `start` [P,d] is fixed."""

    def __init__(self, start: Tensor, settings: AgentSettings, seed: int) -> None:
        super().__init__()
        length, size = start.shape
        if size % (2 * HEADS):
            raise UsageError(
                f"The backbone's hidden size is {size}", expected=f"a multiple of {2 * HEADS}"
            )
        self.start = nn.Parameter(start, requires_grad=False)
        with torch.random.fork_rng(devices=[]):  # torch's own initial values, from our seed
            torch.manual_seed(seed)
            self.tokens = nn.Parameter(torch.randn(length, size))
            self.network = _network(settings, size)
            self.inner, self.outer = nn.Linear(size, size), nn.Linear(size, size)
        with torch.no_grad():
            self.outer.weight.mul_(SMALL)
            self.outer.bias.zero_()

    def forward(self) -> Injection:
        read: Any = self.network(self.tokens[None])
        states: Tensor = (read[0] if isinstance(read, tuple) else read)[0]
        return Injection(slots=self.start + self.outer(torch.relu(self.inner(states))))


class PromptAgent(Method[AgentSettings]):
    """`{soft:P}` behind the hard template, written by a network while it trains."""

    settings = AgentSettings
    kind = "prompt"
    families: ClassVar[tuple[Family, ...]] = ("llama",)

    def template(self, hard: Template, settings: AgentSettings) -> Template:
        if hard.soft:
            return hard
        one = Soft(settings.length)
        front = (one,) if settings.place in ("front", "both") else ()
        back = (one,) if settings.place in ("back", "both") else ()
        return Template((*front, *hard.segments, *back))

    def build(self, context: Context, settings: AgentSettings) -> PromptModule:
        start = slots(context, settings.init)
        if start is None:
            raise UsageError("The template has no soft slot for the agent to write to")
        return with_head(context, agent=Agent(start.vectors.detach(), settings, context.seed))


def _network(settings: AgentSettings, size: int) -> nn.Module:
    if settings.network == "lstm":
        return nn.LSTM(size, size // 2, settings.layers, bidirectional=True, batch_first=True)
    layer = nn.TransformerEncoderLayer(
        size, HEADS, 2 * size, dropout=0.0, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)


METHOD = PromptAgent()
