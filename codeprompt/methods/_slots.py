"""Slot vectors: their place in a template, their parameters, four ways to start them.

The ways are those of Lester et al. 2021 (section 3.2), and the template's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, Method, MethodKind, PromptModule
from codeprompt.template import Segment, Soft, Template, initial_ids, slot_indices

Init = Literal["vocabulary", "random", "labels", "text"]
COMMONEST = 5000
"""Lester et al. sample initial tokens among the 5,000 commonest; BPE ids are ordered by merges,
which stands in for frequency."""


class Long(Protocol):
    """Settings with a length: P, of slots where the template has none of its own."""

    @property
    def length(self) -> int:
        """P."""


L = TypeVar("L", bound=Long)


class SlotMethod(Method[L]):
    """A method that fills soft slots: the template's own, or else those that it puts there."""

    kind: ClassVar[MethodKind] = "prompt"

    def template(self, hard: Template, settings: L) -> Template:
        return hard if hard.soft else Template(tuple(self.placed(hard, settings)))

    def placed(self, hard: Template, settings: L) -> Sequence[Segment]:
        """The segments of a template of hard words, with slots: `{soft:P}` in front of them."""
        return (Soft(settings.length), *hard.segments)


class Slots(PromptModule):
    """Vectors [P,d] at the template's soft positions, in float32 whatever the backbone's dtype."""

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(initial.float().clone())

    def forward(self) -> Injection:
        return Injection(slots=self.vectors)


def slots(context: Context, init: Init = "vocabulary") -> Slots | None:
    """The template's slot vectors with their initial values; None where it has no soft slot.

    A segment's own `init="..."` text decides for its vectors; the others start as `init` says:
    `vocabulary` rows of the embedding, `random` U(-0.5, 0.5) scaled to the embedding's spread,
    `labels` the label words in turn, `text` the template's own hard words in turn.
    """
    tokenizer, table = context.backbone.tokenizer, context.backbone.embedding.weight.detach()
    ids = initial_ids(context.template, tokenizer)
    if not ids:
        return None
    generator = context.generator()
    drawn = torch.randint(
        first_word(table.shape[0]), min(COMMONEST, table.shape[0]), (len(ids),), generator=generator
    ).tolist()
    if init == "labels":
        words = [token for word in context.words for token in word]
        if not words:
            raise UsageError(
                "init=labels needs label words, and this task generates text",
                do="Use init=vocabulary, random or text",
            )
        drawn = [words[i % len(words)] for i in range(len(ids))]
    elif init == "text":
        text = " ".join(str(s) for s in context.template.segments if hasattr(s, "text"))
        tokens = tokenizer.encode(text) or drawn
        drawn = [tokens[i % len(tokens)] for i in range(len(ids))]
    chosen = [d if own is None else own for own, d in zip(ids, drawn, strict=True)]
    vectors = table[torch.tensor(chosen)].float()
    if init == "random":
        noise = torch.rand(vectors.shape, generator=generator) - 0.5
        own = torch.tensor([i is not None for i in ids])[:, None]
        vectors = torch.where(own, vectors, noise * table.float().std() * 12**0.5)
    return Slots(vectors)


def started(context: Context, init: Init = "vocabulary") -> Tensor:
    """The initial values of `slots`, [P,d], of a method that cannot do without any."""
    slots_needed(context.template)
    found = slots(context, init)
    assert found is not None  # counted
    return found.vectors.detach()


def bank(context: Context, init: Init, count: int) -> Tensor:
    """The initial values of several prompts of unlike starts: [N,P,d]."""
    seeds = [context.seed * count + n for n in range(count)]
    return torch.stack([started(replace(context, seed=seed), init) for seed in seeds])


def slots_needed(template: Template) -> int:
    """P, of all soft segments together. Raises `UsageError` where there are none."""
    count = max((own.stop for own in slot_indices(template)), default=0)
    if not count:
        raise UsageError("The template has no soft slot to fill", do="Leave --template out")
    return count


def first_word(size: int) -> int:
    """The first id past special tokens and single bytes, where a vocabulary is large."""
    return 300 if size > 2 * 300 else 5
