"""Answer a mixed batch: rows of any prompts on one backbone, encoded together.

All rows pass the encoder in one batch whatever their task, method or prompt length; then the rows
that classify are scored prompt by prompt, and the rows that generate decode together, grouped by
decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.generation import Decoding, Hypothesis, generate
from codeprompt.consensus import chosen
from codeprompt.ensemble import Ensemble
from codeprompt.errors import PackError
from codeprompt.forward import classify
from codeprompt.inject import Injected, Injection, collate
from codeprompt.labelling import labelled
from codeprompt.passes import combined, expanded, shares_of
from codeprompt.plan import Plan, to_source
from codeprompt.rerank import reranked
from codeprompt.types import Prediction, Rendered

ROUND = 16
"""Rows are padded to multiples of this."""


@dataclass(frozen=True)
class Prompt:
    """A prompt ready to answer: its plan, its lowered injection, how it decodes."""

    plan: Plan
    injection: Injection = field(default_factory=Injection)
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True)
class Row:
    """One question: the prompt's index in the batch's list and the example's fields."""

    prompt: int
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Encoded:
    """Rows that have passed the encoder, every member of a row (see `passes`) in a row of its own.

    rendered: [members][M], see `Plan.mask_counts`. counts: members of each row. shares: log a_k
    [K] of each row's members; None where it has one alone.
    """

    rendered: Sequence[Sequence[Rendered]]
    source: Source
    hidden: Tensor
    injected: Injected
    counts: Sequence[int]
    shares: Sequence[Tensor | None]

    def select(self, rows: Sequence[int]) -> Encoded:
        """Some rows; all of them cost nothing."""
        if len(rows) == len(self.counts):
            return self
        first = [0, *accumulate(self.counts)]
        places = [at for row in rows for at in range(first[row], first[row + 1])]
        index = torch.tensor(places, device=self.hidden.device)
        some = [self.rendered[place] for place in places]
        source, injected = self.source.select(index), self.injected.select(index)
        counts, shares = [self.counts[row] for row in rows], [self.shares[row] for row in rows]
        return Encoded(some, source, self.hidden[index], injected, counts, shares)

    @property
    def table(self) -> Tensor | None:
        """log a_k [B,K] of rows that have one number of members; None for one."""
        found = [own for own in self.shares if own is not None]
        return torch.stack(found) if found else None


@torch.inference_mode()
def answer(
    model: Any,
    prompts: Sequence[Prompt],
    rows: Sequence[Row],
    should_stop: Callable[[], bool] | None = None,
) -> list[Prediction]:
    """Predictions in the order of the rows.

    model: the backbone or a serving copy of it, which all prompts were planned for.
    """
    if not rows:
        return []
    rendered = [prompts[row.prompt].plan.render(row.fields) for row in rows]
    encoded = encode(model, prompts, [row.prompt for row in rows], rendered)
    out: list[Prediction | None] = [None] * len(rows)
    for number, prompt in enumerate(prompts):
        mine = [i for i, row in enumerate(rows) if row.prompt == number]
        if mine and prompt.plan.kind != "generate":
            found = sorted_out(model, prompt, encoded.select(mine))
            for i, prediction in zip(mine, found, strict=True):
                out[i] = prediction
    groups: dict[tuple[Decoding, int], list[int]] = {}
    for i, row in enumerate(rows):
        if prompts[row.prompt].plan.kind == "generate":
            key = (prompts[row.prompt].decoding, encoded.counts[i])
            groups.setdefault(key, []).append(i)
    for (decoding, _), mine in groups.items():
        some = encoded.select(mine)
        shares = some.table
        decoder: Any = model if shares is None else Ensemble(model, shares)
        tokenizer = prompts[0].plan.tokenizer
        found_ids = generate(
            decoder,
            model.remember(some.hidden, some.source, some.injected),
            some.injected,
            decoding,
            eos=tokenizer.eos_id,
            pad=tokenizer.pad_id,
            start=prompts[0].plan.backbone.start_id,
            should_stop=should_stop,
        )
        for i, hypotheses in zip(mine, found_ids, strict=True):
            prompt, fields = prompts[rows[i].prompt], rows[i].fields
            out[i] = settled(model, prompt, fields, hypotheses, decoding)
    return [p for p in out if p is not None]


def encode(
    model: Any,
    prompts: Sequence[Prompt],
    index: Sequence[int],
    rendered: Sequence[Sequence[Rendered]],
) -> Encoded:
    """Rows of any prompts through the encoder together; index: each row's prompt in the list."""
    plan = prompts[0].plan
    found = expanded([p.injection for p in prompts], index, rendered)
    injected = collate(found.prompts, found.index)
    pad, device = plan.tokenizer.pad_id, plan.backbone.device
    source = _rounded(to_source([row[0] for row in found.rendered], pad, device), plan)
    shares: list[Tensor | None] = [None] * len(index)
    for number, prompt in enumerate(prompts):
        mine = [row for row, own in enumerate(index) if own == number]
        first = torch.tensor([found.first[row] for row in mine], dtype=torch.long, device=device)
        table = shares_of(model, prompt.injection, source.select(first)) if mine else None
        for row, own in zip(mine, [] if table is None else table, strict=table is not None):
            shares[row] = own
    hidden = model.encode(source, injected)
    return Encoded(found.rendered, source, hidden, injected, found.counts, shares)


def _rounded(source: Source, plan: Plan) -> Source:
    """Padded to a width that comes again: torch keeps compiled products for every shape it saw."""
    length = source.ids.shape[1]
    more = min(-(-length // ROUND) * ROUND, max(plan.backbone.max_length, length)) - length
    slots = None if source.slots is None else F.pad(source.slots, (0, more), value=-1)
    ids = F.pad(source.ids, (0, more), value=plan.tokenizer.pad_id)
    return Source(ids, F.pad(source.mask, (0, more), value=False), slots)


def settled(
    model: Any,
    prompt: Prompt,
    fields: Mapping[str, str],
    hypotheses: Sequence[Hypothesis],
    decoding: Decoding,
) -> Prediction:
    """The answer among a row's candidates, as text; its score is the one it was written with."""
    tokenizer = prompt.plan.tokenizer
    if decoding.channel and len(hypotheses) > 1:
        best = reranked(model, prompt.plan, fields, hypotheses, decoding)
    else:
        best = chosen(hypotheses, decoding, tokenizer.decode)
    return Prediction(tokenizer.decode(best.ids).strip(), best.score)


def sorted_out(model: Any, prompt: Prompt, encoded: Encoded) -> list[Prediction]:
    """One prompt's rows that need no step of a decoder: a label each, or one for every line."""
    if prompt.plan.kind == "classify":
        return classified(model, prompt, encoded)
    head, rendered = prompt.injection.head, encoded.rendered
    if head is None:
        raise PackError(
            "The pack labels lines and has no head to do it with",
            do="Restore it or tune it again",
        )
    return labelled(
        model, prompt.plan, rendered, encoded.source, encoded.hidden, encoded.injected, head
    )


def classified(model: Any, prompt: Prompt, encoded: Encoded) -> list[Prediction]:
    """One prompt's rows: the likeliest label of each, and the probabilities of all."""
    plan, injected = prompt.plan, encoded.injected
    sources, states = [encoded.source], [encoded.hidden]
    for m in range(1, len(plan.mask_counts)):  # label words of other lengths: a cloze each
        pad, device = plan.tokenizer.pad_id, encoded.hidden.device
        sources.append(to_source([row[m] for row in encoded.rendered], pad, device))
        states.append(model.encode(sources[-1], injected))
    head = prompt.injection.head
    found = classify(model, plan, encoded.rendered, sources, states, injected, head)
    gate = prompt.injection.gate
    found = combined(found, encoded.table, gate is not None and gate.over == "votes")
    out = []
    for row in found.exp().tolist():
        probabilities = dict(zip(plan.labels, row, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        score = probabilities[plan.positive] if plan.positive else probabilities[best]
        out.append(Prediction(best, score, probabilities))
    return out
