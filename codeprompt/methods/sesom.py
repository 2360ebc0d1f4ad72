"""SESoM: K frozen source prompts each give a prediction, and a gate weighs these for every input.

Peng et al. 2023 (Model ensemble instead of prompt fusion: a sample-specific knowledge transfer
method for few-shot prompt tuning), section 3: K forward passes, one a source prompt [P,d], and the
answer sum_k a_k p_k with a = softmax(<x, s_k> / tau), where x = LN(up SiLU(down max-pool input)).
Only the gate trains. The K passes are K rows of the batch; writing mixes at every step. We differ:
s_k is a projection of the max-pooled source prompt, with maps of its own, so that weights are known
before any pass (theirs projects what the source predicts), and probabilities are mixed, not scores
before the softmax, so that a gate forced to one source is that source. tau = d, r = 32.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from codeprompt.inject import Gate, Injection
from codeprompt.methods._gates import QueryNet, SourceMethod, SourceSettings, sources_of
from codeprompt.methods.base import Context, PromptModule, with_head


@dataclass(frozen=True)
class SesomSettings(SourceSettings):
    """rank: r of both projections. temperature: tau, 0 for d."""

    rank: int = 32
    temperature: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if 1 in (len(self.sources), self.grown):
            raise ValueError("one source leaves the gate nothing to weigh: give two or more")


class Ensemble(PromptModule):
    """Frozen sources [K,P,d] and two projections: of the input and of the sources."""

    def __init__(self, context: Context, settings: SesomSettings) -> None:
        super().__init__()
        size, generator = context.backbone.d_model, context.generator()
        self.sources = nn.Parameter(sources_of(context), requires_grad=False)
        self.net = QueryNet(size, settings.rank, generator)
        self.of_sources = QueryNet(size, settings.rank, generator)
        self.temperature = settings.temperature or float(size)

    def forward(self) -> Injection:
        keys = self.of_sources(self.sources.amax(1)) / self.temperature
        return Injection(gate=Gate(self.sources, self.net.query(keys), over="outputs"))


class Sesom(SourceMethod[SesomSettings]):
    """The sources' slots before the hard template, in K rows for each."""

    settings = SesomSettings
    kinds = ("classify", "generate")

    def build(self, context: Context, settings: SesomSettings) -> PromptModule:
        return with_head(context, ensemble=Ensemble(context, settings))


METHOD = Sesom()
