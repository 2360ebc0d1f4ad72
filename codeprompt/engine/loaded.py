"""A pack in the engine: how its questions are rendered, and the model that answers them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from codeprompt.answer import Prompt
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.engine.flight import at_steps
from codeprompt.errors import PackError
from codeprompt.inject import Injection
from codeprompt.pack import Pack
from codeprompt.plan import Plan
from codeprompt.registry import TASKS
from codeprompt.template import parse


@dataclass(eq=False)
class Loaded:
    """A pack ready to answer, and the model that answers for it: the shared one, or its own.

    steps: what of its prompt acts at every step of the decoder. least: the shortest that one of
    its answers has taken, in seconds.
    """

    pack: Pack
    prompt: Prompt
    model: Any
    steps: Injection = field(init=False)
    least: float = float("inf")

    def __post_init__(self) -> None:
        self.steps = at_steps(self.prompt.injection)

    def took(self, seconds: float) -> None:
        """One of its questions was answered in that time."""
        self.least = min(self.least, seconds)

    @property
    def soonest(self) -> float:
        """Seconds that an answer will take at least; 0 before any was given."""
        return 0.0 if self.least == float("inf") else self.least

    @property
    def bytes(self) -> int:
        """Of its prompt."""
        tensors = self.prompt.injection.tensors().values()
        return sum(t.numel() * t.element_size() for t in tensors)


def prompt_of(pack: Pack, backbone: Backbone) -> Prompt:
    """A pack as it answers on a backbone. Raises `PackError`, `TemplateError` on a bad card."""
    card = pack.card
    task = TASKS.get(card.task)
    channel = task.channel.get(backbone.family)
    plan = Plan(
        backbone,
        pack.template,
        task.kind,
        card.source_length,
        card.target_length,
        tuple(card.labels),
        card.positive,
        pack.verbalizer if card.head == "verbalizer" else None,
        None if card.prior is None else tuple(card.prior),
        0.5 if card.threshold is None else card.threshold,
        None if channel is None else parse(channel),
    )
    decoding = Decoding.from_json(card.decoding)
    if decoding.channel and channel is None:
        raise PackError(
            f"The card weighs candidates by a channel, and '{task.name}' has none on the "
            f"{backbone.family} family",
            expected="`channel` 0",
        )
    injection = backbone.lower(replace(pack.injection, weights={}))
    return Prompt(plan, injection, decoding)
