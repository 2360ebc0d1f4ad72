"""From rendered rows to scores: the one path that training and serving share.

Classification scores every label word's whole sequence, normalised by its length: at `{mask}` on an
encoder, by the decoder on an encoder-decoder (after the sentinel where the template has a mask).
A linear head reads the first position instead (encoder), or the decoder's first state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.inject import Head, Injected
from codeprompt.plan import Plan, to_source
from codeprompt.types import Rendered
from codeprompt.verbalizers import label_log_probs

IGNORED = -100


def classify(
    model: Any,
    plan: Plan,
    rendered: Sequence[Sequence[Rendered]],
    sources: Sequence[Source],
    hidden: Sequence[Tensor],
    injected: Injected,
    head: Head | None,
) -> Tensor:
    """Label log-probabilities [B,C].

    model: the backbone itself, or a serving copy of it.
    rendered: [B][M] renderings. sources, hidden: one of each for every entry of `plan.mask_counts`.
    """
    family = plan.backbone.family
    if head is not None:
        state = _first_state(model, plan, sources[0], hidden[0], injected)
        logits = F.linear(state.float(), head.weight.float(), head.bias.float())
        return logits.log_softmax(-1)
    if family == "roberta":
        scores = _cloze_scores(model, plan, rendered, hidden, injected)
    else:
        scores = _decoder_scores(model, plan, sources[0], hidden[0], injected)
    index = [label for label, _ in plan.words]
    return label_log_probs(scores, index, len(plan.labels), plan.prior)


def encode_all(
    plan: Plan, rendered: Sequence[Sequence[Rendered]], injected: Injected, skip: int = 0
) -> tuple[list[Source], list[Tensor]]:
    """Encode every rendering of the rows but the first `skip`."""
    model: Any = plan.backbone
    sources = [
        to_source([row[m] for row in rendered], model.tokenizer.pad_id, model.device)
        for m in range(skip, len(plan.mask_counts))
    ]
    return sources, [model.encode(source, injected) for source in sources]


def generation_loss(
    model: Any,
    source: Source,
    hidden: Tensor,
    labels: Tensor,
    injected: Injected,
    total: int | None = None,
) -> Tensor:
    """Mean negative log-likelihood of the target tokens; labels [B,U] with -100 at padding.

    total: tokens to divide by in place of these rows' own, where they are a part of a batch.
    """
    shifted = F.pad(labels[:, :-1], (1, 0), value=model.start_id)
    shifted = shifted.masked_fill(shifted == IGNORED, model.tokenizer.pad_id)
    memory = model.remember(hidden, source, injected)
    states = model.decode(shifted, memory, injected)
    wanted = labels != IGNORED  # no logits for padding: the head is the widest map of all
    tokens = labels[wanted]
    loss: Tensor = model.token_loss(states[wanted], tokens)
    return loss / (total or tokens.numel())


def pad_labels(rows: Sequence[Sequence[int]], device: torch.device | None = None) -> Tensor:
    """Target ids as [B,U], -100 at padding."""
    width = max(len(row) for row in rows)
    out = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for index, row in enumerate(rows):
        out[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out.to(device)


def _first_state(
    model: Any, plan: Plan, source: Source, hidden: Tensor, injected: Injected
) -> Tensor:
    if plan.backbone.family == "roberta":
        return hidden[:, 0]
    start = torch.full((hidden.shape[0], 1), plan.backbone.start_id, device=hidden.device)
    states: Tensor = model.decode(start, model.remember(hidden, source, injected), injected)
    return states[:, 0]


def _cloze_scores(
    model: Any,
    plan: Plan,
    rendered: Sequence[Sequence[Rendered]],
    hidden: Sequence[Tensor],
    injected: Injected,
) -> Tensor:
    """[B,W]: mean log-probability of each word's tokens at the masks."""
    columns: dict[int, Tensor] = {}
    for m, count in enumerate(plan.mask_counts):
        positions = torch.tensor([row[m].mask[:count] for row in rendered], device=hidden[m].device)
        found = model.mask_logits(hidden[m], positions, injected).float().log_softmax(-1)
        for index, (_, ids) in enumerate(plan.words):
            if len(ids) == count:
                picked = found[:, torch.arange(count), torch.tensor(ids)]
                columns[index] = picked.mean(-1)
    return torch.stack([columns[i] for i in range(len(plan.words))], 1)


def _decoder_scores(
    model: Any, plan: Plan, source: Source, hidden: Tensor, injected: Injected
) -> Tensor:
    """[B,W]: mean log-probability of each word's tokens after the decoder's start."""
    backbone = plan.backbone
    memory = model.remember(hidden, source, injected)
    start = [backbone.start_id]
    if plan.template.masks:
        start.append(backbone.tokenizer.sentinel(0))
    first: Tensor | None = None
    columns = []
    for _, ids in plan.words:
        if len(ids) == 1 and first is not None:
            columns.append(first[:, ids[0]])
            continue
        read = torch.tensor([*start, *ids[:-1]], device=hidden.device)
        states = model.decode(read.expand(hidden.shape[0], -1), memory, injected)
        found = model.logits(states[:, len(start) - 1 :]).float().log_softmax(-1)
        if first is None:
            first = found[:, 0]
        columns.append(found[:, torch.arange(len(ids)), torch.tensor(ids)].mean(-1))
    return torch.stack(columns, 1)
