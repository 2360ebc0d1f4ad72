"""Adafactor as prompt tuning needs it: a rate of its own, no scaling by the parameter's size.

Shazeer & Stern 2018 (Adafactor), algorithms 4 and 5 without relative steps; Lester et al. 2021,
appendix A.2, tune prompts by it at a constant rate of 0.3. `torch.optim.Adafactor` cannot: its
rate is min(lr, 1/sqrt(step)) times the parameter's root mean square, and neither switches off.
As in the authors' own code, the second moment is factored only where both dimensions have 128 or
more: a prompt of 20 vectors keeps it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

FACTOR_FROM = 128


class Adafactor(Optimizer):
    """lr: of the update, whose root mean square is clipped to `clip`. decay: of the rate at which
    the second moment forgets, 1 - step ** -decay. weight_decay: times lr. epsilon: added to
    squared gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.3,
        *,
        decay: float = 0.8,
        clip: float = 1.0,
        weight_decay: float = 0.0,
        epsilon: float = 1e-30,
    ) -> None:
        defaults = {
            "lr": lr,
            "decay": decay,
            "clip": clip,
            "weight_decay": weight_decay,
            "epsilon": epsilon,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad.float(), group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            _begin(state, gradient)
        state["step"] += 1
        keep = 1.0 - state["step"].item() ** -group["decay"]
        square = gradient.square() + group["epsilon"]
        if "whole" in state:
            state["whole"].mul_(keep).add_(square, alpha=1 - keep)
            update = state["whole"].rsqrt() * gradient
        else:
            rows, columns = state["rows"], state["columns"]
            rows.mul_(keep).add_(square.mean(-1), alpha=1 - keep)
            columns.mul_(keep).add_(square.mean(-2), alpha=1 - keep)
            share = (rows / rows.mean(-1, keepdim=True)).rsqrt().unsqueeze(-1)
            update = share * columns.rsqrt().unsqueeze(-2) * gradient
        size = update.norm() / update.numel() ** 0.5
        update /= (size / group["clip"]).clamp(min=1.0)
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(update, alpha=group["lr"])


def _begin(state: dict[str, Any], gradient: Tensor) -> None:
    state["step"] = torch.zeros(())
    if gradient.dim() >= 2 and min(gradient.shape[-2:]) >= FACTOR_FROM:
        state["rows"] = gradient.new_zeros(gradient.shape[:-1])
        state["columns"] = gradient.new_zeros((*gradient.shape[:-2], gradient.shape[-1]))
    else:
        state["whole"] = torch.zeros_like(gradient)
