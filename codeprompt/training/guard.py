"""The guard at the end of a run: the prompt acts, answers as it was trained, on its own backbone.

All three have failed silently elsewhere: prompts that `generate` never uses, generation that
disagrees with training, and frozen backbones that drift.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.checkpoint import hash_tensors
from codeprompt.backbones.generation import Decoding, generate
from codeprompt.ensemble import Ensemble
from codeprompt.errors import TrainingError
from codeprompt.forward import generation_loss, pad_labels
from codeprompt.inject import Injection
from codeprompt.passes import mixed_loss, passed
from codeprompt.plan import Plan
from codeprompt.types import Example

REPORT = "This is a fault of codeprompt: please report it with the command you ran"
AGREES = 1e-3
"""How far the mean log-probability of a float32 answer may stray between its two computations."""


def fingerprint(backbone: Backbone) -> str:
    """The hash of the backbone's tensors as they are in memory."""
    return hash_tensors(backbone.state_dict())


def check_frozen(backbone: Backbone, before: str) -> None:
    """Raise `TrainingError` if a frozen backbone has changed."""
    if fingerprint(backbone) != before:
        raise TrainingError(
            "The frozen backbone's weights changed while a prompt was tuned; the pack is not saved",
            do=REPORT,
        )


@torch.no_grad()
def check_acts(plan: Plan, injection: Injection, example: Example) -> float:
    """Largest change that the prompt makes to one example's logits.

    The same rendering runs with the prompt's parts and without them (slots stand as the embedding
    of the pad token there). Raises `TrainingError` where nothing changes.
    """
    change = float((_logits(plan, injection, example) - _logits(plan, None, example)).abs().max())
    if not change > 0:
        raise TrainingError(
            "The tuned prompt does not act: logits with and without it are equal",
            do="Train longer or with a larger --lr",
        )
    return change


@torch.no_grad()
def check_agrees(plan: Plan, injection: Injection, example: Example) -> float:
    """How far generating and training disagree on the log-probability of one greedy answer.

    Raises `TrainingError` where it is more than rounding.
    """
    model: Any = plan.backbone
    p = passed(plan, plan.backbone.lower(injection), [plan.render(example.fields)])
    source, hidden = p.sources[0], p.hidden[0]
    eos = plan.tokenizer.eos_id
    decoder: Any = model if p.shares is None else Ensemble(model, p.shares)
    found = generate(
        decoder,
        model.remember(hidden, source, p.injected),
        p.injected,
        Decoding(max_new_tokens=plan.target_length),
        eos=eos,
        pad=plan.tokenizer.pad_id,
        start=plan.backbone.start_id,
    )[0][0]
    ids = [*found.ids, eos] if found.finished else list(found.ids)
    labels = pad_labels([ids], plan.backbone.device)
    if p.shares is None:
        trained = -float(generation_loss(model, source, hidden, labels, p.injected))
    else:
        trained = -float(mixed_loss(model, source, hidden, labels, p.injected, p.shares))
    gap = abs(trained - found.score)
    if not gap <= AGREES:
        raise TrainingError(
            f"Generating gives an answer the log-probability {found.score:.4f}, and training "
            f"{trained:.4f}; the pack is not saved",
            do=REPORT,
        )
    return gap


def check_tuned(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Raise `TrainingError` if weights that were tuned are those of the backbone."""
    own = backbone.state_dict()
    if all(torch.equal(own[name], tensor) for name, tensor in weights.items()):
        raise TrainingError(
            "The tuned weights are those of the backbone",
            do="Train longer or with a larger backbone_lr",
        )


def _logits(plan: Plan, injection: Injection | None, example: Example) -> Tensor:
    """What the prompt moves: label log-probabilities, the first token's logits, or the state that
    a linear head reads."""
    backbone = plan.backbone
    model: Any = backbone
    lowered = Injection() if injection is None else backbone.lower(injection)
    found = passed(plan, replace(lowered, head=None), [plan.render(example.fields)])
    if plan.kind == "label":
        states: Tensor = model.token_states(found.hidden[0], found.sources[0], found.injected)
        return states.float()
    if plan.verbalizer is not None:
        return found.label_scores(plan)
    hidden = found.hidden[0]
    if backbone.family == "roberta":
        return hidden[:1, 0].float()
    start = torch.full((len(hidden), 1), backbone.start_id, device=backbone.device)
    memory = model.remember(hidden, found.sources[0], found.injected)
    logits: Tensor = model.logits(model.decode(start, memory, found.injected))
    return logits[:1].float()
