"""A first stage without labels: a module's prompts learn what teacher prompts predict.

Wang et al. 2023 (Multitask Prompt Tuning), section 3.3: the KL divergence of the student's
predictions from the teacher's, and the mean square between their hidden states. Predictions are
over the labels, or over the vocabulary at every token of a row's target; a linear head belongs to
one prompt, and there hidden states alone are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.forward import IGNORED, pad_labels
from codeprompt.inject import Injection
from codeprompt.methods.base import Lessons, PromptModule
from codeprompt.passes import Passed, passed
from codeprompt.plan import Plan
from codeprompt.recipes import Recipe
from codeprompt.training.objective import Rows
from codeprompt.training.optim import optimizer_for, set_rates
from codeprompt.training.order import Order


def learn(
    plan: Plan, module: PromptModule, lessons: Lessons, rows: Rows, recipe: Recipe, seed: int
) -> list[float]:
    """Teach the module for `lessons.steps` steps, each teacher in turn; the loss of every step."""
    order = Order(rows.lengths, recipe.batch, seed)
    stage = recipe.with_changes(steps=max(1, lessons.steps))
    parameters = module.trained()
    optimizer = optimizer_for(stage, module.paced(), [])
    losses = []
    for step in range(lessons.steps):
        k = step % len(lessons.teachers)
        optimizer.zero_grad(set_to_none=True)
        loss = distance(plan, lessons.student(k), lessons.teachers[k], rows, order.rows(step))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip or float("inf"))
        set_rates(optimizer, stage, step)
        optimizer.step()
        losses.append(float(loss.detach()))
    lessons.turn()
    return losses


def distance(
    plan: Plan, student: Injection, teacher: Injection, rows: Rows, index: Sequence[int]
) -> Tensor:
    """KL + MSE over some rows; gradients for the student alone."""
    own, own_states = _predicted(plan, student, rows, index)
    with torch.no_grad():
        wanted, states = _predicted(plan, teacher, rows, index)
    loss = F.mse_loss(own_states, states)
    if own is None or wanted is None:
        return loss
    return loss + F.kl_div(own, wanted, reduction="batchmean", log_target=True)


def _predicted(
    plan: Plan, injection: Injection, rows: Rows, index: Sequence[int]
) -> tuple[Tensor | None, Tensor]:
    """Log-probabilities [N,C|V], and hidden states at the source's positions [M,d]; float32."""
    model: Any = plan.backbone
    found = passed(plan, model.lower(injection), [rows.rendered[i] for i in index])
    source, hidden, injected = found.sources[0], found.hidden[0], found.injected
    states = model.token_states(hidden, source, injected)[source.mask].float()
    if plan.kind == "generate":
        return _written(plan, found, [rows.targets[i] for i in index]), states
    return (None if plan.verbalizer is None else found.label_scores(plan).float()), states


def _written(plan: Plan, found: Passed, targets: Sequence[Sequence[int]]) -> Tensor:
    """Teacher forcing: log-probabilities at every token of the targets [N,V]."""
    model: Any = plan.backbone
    labels = pad_labels(targets, model.device)
    shifted = F.pad(labels[:, :-1], (1, 0), value=model.start_id)
    shifted = shifted.masked_fill(shifted == IGNORED, model.tokenizer.pad_id)
    memory = model.remember(found.hidden[0], found.sources[0], found.injected)
    decoded = model.decode(shifted, memory, found.injected)
    logits: Tensor = model.logits(decoded[labels != IGNORED])
    return logits.float().log_softmax(-1)
