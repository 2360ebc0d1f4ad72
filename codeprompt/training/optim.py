"""Which optimiser tunes a run's parameters, and at what rate each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from codeprompt.recipes import Recipe
from codeprompt.training.adafactor import Adafactor


def optimizer_for(
    recipe: Recipe,
    prompt: Mapping[str, Sequence[nn.Parameter]],
    weights: Sequence[nn.Parameter],
) -> Optimizer:
    """AdamW or Adafactor over the prompt's parameters and, at their own rate, the backbone's.

    prompt: by the name that `recipe.rates` has for them.
    """
    groups = [(own, recipe.lr * recipe.rates.get(name, 1.0)) for name, own in prompt.items()]
    groups.append((weights, recipe.backbone_lr))
    given = [{"params": list(own), "lr": lr, "base": lr} for own, lr in groups if own]
    if recipe.optimizer == "adafactor":
        return Adafactor(given, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(given, weight_decay=recipe.weight_decay, betas=(0.9, 0.99))


def set_rates(optimizer: Optimizer, recipe: Recipe, step: int) -> None:
    """The learning rates of a step: a function of the step alone, so that resuming needs none."""
    share = rate_share(recipe, step)
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * share


def rate_share(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then constant, linear decay or half a cosine to zero; `step` from 0."""
    warm = round(recipe.warmup * recipe.steps)
    if step < warm:
        return (step + 1) / warm
    left = (recipe.steps - step) / max(1, recipe.steps - warm)
    if recipe.schedule == "linear":
        return left
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return 1.0
