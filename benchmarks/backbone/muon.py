"""The optimiser: Muon on the hidden matrices, AdamW on the rest, over bfloat16 parameters.

Muon (Jordan et al. 2024): momentum, then the nearest semi-orthogonal matrix by five Newton-Schulz
steps, so that every direction of a weight learns at one speed. Matrices of one shape are stacked
and orthogonalised together. Parameters are bfloat16 for speed; the float32 masters live here, as
does all that a resumed run needs, in plain tensors (`state_tensors`).

Where we differ: T5 has no 1/sqrt(h) in its attention, so queries and keys take smaller steps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

# At 0.25 and 1 attention was one-hot after 600 steps (logits of deviation 7), and learning stood.
SLOWER = {"q.weight": 0.1, "k.weight": 0.5}
TABLES = re.compile("shared|embeddings|bias")  # looked up, not multiplied: AdamW's
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """[N,rows,columns] -> the same with singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    if x.shape[1] > x.shape[2]:
        return orthogonalise(matrices.mT, steps).mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    moved: Tensor = x
    return moved


class Optimiser:
    """Muon and AdamW under one learning-rate factor; `step(factor)` after `backward`.

    hidden_rate: Muon's, for a square matrix. other_rate: AdamW's, for embeddings, norms and biases.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        *,
        hidden_rate: float,
        other_rate: float,
        decay: float = 0.1,
        momentum: float = 0.95,
        clip: float = 1.0,
    ) -> None:
        self.parameters = dict(named)
        self.hidden_rate, self.other_rate, self.decay = hidden_rate, other_rate, decay
        self.momentum, self.clip, self.steps = momentum, clip, 0
        self.masters = {n: p.detach().float().clone() for n, p in self.parameters.items()}
        self.first = {n: torch.zeros_like(m) for n, m in self.masters.items()}
        self.second: dict[str, Tensor] = {}
        self.groups: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, parameter in self.parameters.items():
            if parameter.ndim == 2 and not TABLES.search(name):
                self.groups[tuple(parameter.shape)].append(name)
            else:
                self.second[name] = torch.zeros_like(self.masters[name])

    @torch.no_grad()
    def step(self, factor: float) -> float:
        """Move the parameters; returns the gradient's norm. Skips a gradient that is not finite."""
        gradients = {n: p.grad.float() for n, p in self.parameters.items() if p.grad is not None}
        norm = float(torch.stack([g.norm() for g in gradients.values()]).norm())
        for parameter in self.parameters.values():
            parameter.grad = None
        if norm != norm or norm == float("inf"):
            return norm
        self.steps += 1
        scale = min(1.0, self.clip / (norm + 1e-6))
        for shape, names in self.groups.items():
            self._muon(shape, [n for n in names if n in gradients], gradients, factor)
        for name in self.second:
            if name in gradients:
                self._adam(name, gradients[name] * scale, factor)
        for name, parameter in self.parameters.items():
            parameter.copy_(self.masters[name])
        return norm

    def _muon(
        self,
        shape: tuple[int, ...],
        names: list[str],
        gradients: Mapping[str, Tensor],
        factor: float,
    ) -> None:
        if not names:
            return
        moved = []
        for name in names:
            self.first[name].lerp_(gradients[name], 1 - self.momentum)
            moved.append(gradients[name].lerp(self.first[name], self.momentum))
        updates = orthogonalise(torch.stack(moved)).float()
        rate = factor * self.hidden_rate * max(1.0, shape[0] / shape[1]) ** 0.5
        for name, update in zip(names, updates, strict=True):
            master = self.masters[name]
            master.mul_(1 - factor * self.hidden_rate * self.decay)
            own = rate * SLOWER.get(name.rpartition("Attention.")[2], 1.0)
            master.add_(update, alpha=-own)

    def _adam(self, name: str, gradient: Tensor, factor: float) -> None:
        first, second = self.first[name], self.second[name]
        first.lerp_(gradient, 0.1)
        second.lerp_(gradient.square(), 0.02)
        # The bias corrections of both moments (Kingma and Ba 2015, algorithm 1).
        size = first / (1 - 0.9**self.steps)
        spread = (second / (1 - 0.98**self.steps)).sqrt_().add_(1e-10)
        self.masters[name].addcdiv_(size, spread, value=-factor * self.other_rate)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, by name."""
        state = {f"master.{n}": t for n, t in self.masters.items()}
        state |= {f"first.{n}": t for n, t in self.first.items()}
        state |= {f"second.{n}": t for n, t in self.second.items()}
        return state | {"steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def load_tensors(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_tensors` of an earlier run."""
        for name, parameter in self.parameters.items():
            self.masters[name].copy_(state[f"master.{name}"])
            self.first[name].copy_(state[f"first.{name}"])
            if name in self.second:
                self.second[name].copy_(state[f"second.{name}"])
            parameter.copy_(self.masters[name])
        self.steps = int(state["steps"])

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Begin anew from the weights of an earlier run."""
        for name, parameter in self.parameters.items():
            self.masters[name].copy_(weights[name])
            parameter.copy_(self.masters[name])
