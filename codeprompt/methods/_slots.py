"""Slot vectors: their parameters and four ways to start (Lester et al. 2021, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, PromptModule
from codeprompt.template import initial_ids

Init = Literal["vocabulary", "random", "labels", "text"]
COMMONEST = 5000
"""Lester et al. sample initial tokens among the 5,000 commonest; BPE ids are ordered by merges,
which stands in for frequency."""


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


def first_word(size: int) -> int:
    """The first id past special tokens and single bytes, where a vocabulary is large."""
    return 300 if size > 2 * 300 else 5
