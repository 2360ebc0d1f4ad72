"""Prompts that a network writes: pseudo-tokens -> BiLSTM or Transformer -> Linear-ReLU-Linear."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import PromptModule

SMALL = 0.1
"""The scale of the last map's initial weights."""
HEADS = 4
Network = Literal["lstm", "transformer"]


class Written(PromptModule):
    """The pseudo-tokens and the network; `start` [P,d] is fixed, and what is written is added.

    small: whether the last map starts near zero, so that training begins at `start`.
    """

    def __init__(
        self, start: Tensor, network: Network, layers: int, seed: int, *, small: bool = True
    ) -> None:
        super().__init__()
        length, size = start.shape
        if size % (2 * HEADS):
            raise UsageError(
                f"The backbone's hidden size is {size}", expected=f"a multiple of {2 * HEADS}"
            )
        self.start = nn.Parameter(start, requires_grad=False)
        with torch.random.fork_rng(devices=[]):  # torch's own initial values, from our seed
            torch.manual_seed(seed)
            self.tokens = nn.Parameter(torch.randn(length, size))
            self.network = _network(network, layers, size)
            self.inner, self.outer = nn.Linear(size, size), nn.Linear(size, size)
        if small:
            with torch.no_grad():
                self.outer.weight.mul_(SMALL)
                self.outer.bias.zero_()

    def forward(self) -> Injection:
        read: Any = self.network(self.tokens[None])
        states: Tensor = (read[0] if isinstance(read, tuple) else read)[0]
        return Injection(slots=self.start + self.outer(torch.relu(self.inner(states))))


def _network(network: Network, layers: int, size: int) -> nn.Module:
    if network == "lstm":
        return nn.LSTM(size, size // 2, layers, bidirectional=True, batch_first=True)
    layer = nn.TransformerEncoderLayer(
        size, HEADS, 2 * size, dropout=0.0, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
