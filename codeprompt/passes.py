"""Rows that pass the model once for each of a prompt's sources, and become one answer.

A prompt whose gate is over `outputs` or `votes` (see `inject/gate.py`) gives a row K members that
stand in the batch like any other rows. What comes of them is put together here: label
probabilities as sum_k a_k p_k or by their votes, a step's token probabilities as sum_k a_k p_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.forward import IGNORED, classify, encode_all
from codeprompt.inject import Injected, Injection, collate, members
from codeprompt.plan import Plan, to_source
from codeprompt.types import Rendered

VOTE = 1e-4
"""What a mean probability counts beside a vote: it decides between labels of equal votes."""


@dataclass(frozen=True)
class Expanded:
    """Rows with their members: prompts, each row's prompt, renderings, and how many each row has.

    first: the place of every row's first member.
    """

    prompts: list[Injection]
    index: list[int]
    rendered: list[Sequence[Rendered]]
    counts: list[int]

    @property
    def first(self) -> list[int]:
        out, place = [], 0
        for count in self.counts:
            out.append(place)
            place += count
        return out


def expanded(
    injections: Sequence[Injection], index: Sequence[int], rendered: Sequence[Sequence[Rendered]]
) -> Expanded:
    """Every row once for each of its prompt's members; index: each row's prompt."""
    prompts: list[Injection] = []
    places = []
    for injection in injections:
        own = members(injection)
        places.append(range(len(prompts), len(prompts) + len(own)))
        prompts += own
    return Expanded(
        prompts,
        [place for row in index for place in places[row]],
        [row for row, own in zip(rendered, index, strict=True) for _ in places[own]],
        [len(places[row]) for row in index],
    )


def shares_of(model: Any, injection: Injection, source: Source) -> Tensor | None:
    """log a_k of rows' members: the source of one member of each row -> [B,K]; None for one."""
    gate = injection.gate
    if gate is None or gate.over == "slots" or gate.count == 1:
        return None
    real = source.mask if source.slots is None else source.mask & (source.slots < 0)
    return gate.shares(model.embedding(source.ids), real).log()


def combined(found: Tensor, shares: Tensor | None, votes: bool = False) -> Tensor:
    """Log-probabilities of members [B*K,...,C] as those of their rows: [B,...,C].

    shares: log a_k [B,K]; None where every row has one member. votes: probabilities are the shares
    of the votes, with a little of the members' mean, so that equal votes are told apart.
    """
    if shares is None:
        return found
    each = found.view(*shares.shape, *found.shape[1:])
    own = shares.to(found.dtype).reshape(*shares.shape, *[1] * (each.dim() - 2))
    mean = torch.logsumexp(each + own, 1)
    if not votes:
        return mean
    said = F.one_hot(each.argmax(-1), each.shape[-1]).to(found.dtype).mean(1)
    return torch.log((1 - VOTE) * said + VOTE * mean.exp())


@dataclass(frozen=True)
class Passed:
    """One prompt's rows after the encoder, with their members. shares: see `shares_of`."""

    rendered: Sequence[Sequence[Rendered]]
    sources: list[Source]
    hidden: list[Tensor]
    injected: Injected
    shares: Tensor | None
    injection: Injection

    def label_scores(self, plan: Plan) -> Tensor:
        """Label log-probabilities [B,C]."""
        found = classify(
            plan.backbone, plan, self.rendered, self.sources, self.hidden, self.injected,
            self.injection.head,
        )  # fmt: skip
        gate = self.injection.gate
        return combined(found, self.shares, gate is not None and gate.over == "votes")


@dataclass(frozen=True)
class Asked:
    """Rows of one prompt before the encoder."""

    plan: Plan
    lowered: Injection
    rendered: Sequence[Sequence[Rendered]]


def passed(plan: Plan, lowered: Injection, rendered: Sequence[Sequence[Rendered]]) -> Passed:
    """Encode rows of one prompt on the plan's backbone, every member in a row of its own."""
    return passed_together([Asked(plan, lowered, rendered)])[0]


def passed_together(asked: Sequence[Asked]) -> list[Passed]:
    """Encode rows of several prompts, of any tasks, on their one backbone in one batch.

    What only label words of other lengths need (a cloze each) passes prompt by prompt.
    """
    plan = asked[0].plan
    model: Any = plan.backbone
    rows = [row for own in asked for row in own.rendered]
    index = [n for n, own in enumerate(asked) for _ in own.rendered]
    found = expanded([own.lowered for own in asked], index, rows)
    injected = collate(found.prompts, found.index)
    source = to_source([row[0] for row in found.rendered], plan.tokenizer.pad_id, model.device)
    hidden = model.encode(source, injected)
    if len(asked) == 1:
        return [_passed(asked[0], found.rendered, source, hidden, injected)]
    counts = [len(own.rendered) * len(members(own.lowered)) for own in asked]
    out, start = [], 0
    for own, count, states in zip(asked, counts, hidden.split(counts), strict=True):
        stop = start + count
        place = torch.arange(start, stop, device=model.device)
        some = found.rendered[start:stop]
        out.append(_passed(own, some, source.select(place), states, injected.select(place)))
        start = stop
    return out


def _passed(
    own: Asked,
    rendered: Sequence[Sequence[Rendered]],
    source: Source,
    hidden: Tensor,
    injected: Injected,
) -> Passed:
    sources, states = encode_all(own.plan, rendered, injected, skip=1)
    first, count = source, len(members(own.lowered))
    if count > 1:
        first = source.select(torch.arange(0, len(rendered), count, device=source.ids.device))
    shares = shares_of(own.plan.backbone, own.lowered, first)
    return Passed(rendered, [source, *sources], [hidden, *states], injected, shares, own.lowered)


def mixed_loss(
    model: Any,
    source: Source,
    hidden: Tensor,
    labels: Tensor,
    injected: Injected,
    shares: Tensor,
    total: int | None = None,
) -> Tensor:
    """As `generation_loss`, of sum_k a_k p_k: labels [B,U], hidden [B*K,T,d] of all members.

    Mean negative log-likelihood over the target's tokens, or over `total`.
    """
    count = shares.shape[1]
    each = labels.repeat_interleave(count, 0)
    shifted = F.pad(each[:, :-1], (1, 0), value=model.start_id)
    shifted = shifted.masked_fill(shifted == IGNORED, model.tokenizer.pad_id)
    states = model.decode(shifted, model.remember(hidden, source, injected), injected)
    wanted = labels != IGNORED
    rows = states.view(-1, count, *states.shape[1:]).transpose(1, 2)[wanted]  # [N,K,d]
    found = model.logits(rows).float().log_softmax(-1)
    tokens = labels[wanted]
    own = found.gather(-1, tokens[:, None, None].expand(-1, count, 1)).squeeze(-1)
    weights = shares[:, None].expand(-1, labels.shape[1], -1)[wanted]
    loss = -torch.logsumexp(own + weights, -1).sum()
    return loss / (total or tokens.numel())
