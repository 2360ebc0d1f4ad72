"""What every backbone family gives: its shape, its tokenizer, its identity, its passes.

A backbone is a lean forward pass of our own over a Hugging Face checkpoint; parameters keep the
checkpoint's names. It is frozen (no gradients, eval mode) until a method asks otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from codeprompt.inject import NOTHING, Columns, Injected, Injection, Site, Stack

if TYPE_CHECKING:
    from codeprompt.backbones.tokenizer import Tokenizer

Family = Literal["t5", "roberta", "llama"]


@dataclass(frozen=True)
class Source:
    """Rendered rows as tensors: ids, slots [B,T] (slots None where no row has any), mask [B,T]."""

    ids: Tensor
    mask: Tensor
    slots: Tensor | None = None

    @property
    def pad_bias(self) -> Tensor | None:
        """[B,1,1,T]: -inf at padding; None where no row is padded."""
        if bool(self.mask.all()):
            return None
        bias = torch.zeros(self.mask.shape, device=self.mask.device)
        return bias.masked_fill(~self.mask, float("-inf"))[:, None, None, :]

    def select(self, index: Tensor) -> Source:
        """Some rows, by index [B']."""
        slots = None if self.slots is None else self.slots[index]
        return Source(self.ids[index], self.mask[index], slots)


@dataclass(frozen=True)
class Span:
    """Some of an encoder's layers: `start` to `stop`, counted from 0; None is all that are left.

    states: what stood before `start` [B,T,d] (None: the embeddings), as an `encode` that stopped
    there gave it: before anything that enters at that layer, and before the last norm.
    """

    start: int = 0
    stop: int | None = None
    states: Tensor | None = None

    def __contains__(self, layer: int) -> bool:
        return self.start <= layer and (self.stop is None or layer < self.stop)


WHOLE = Span()

Role = Literal["query", "key", "value", "attention-out", "feed-in", "feed-out"]
"""What a linear map does in its layer, whatever a family calls it; of every attention there is."""


@dataclass(frozen=True)
class SiteShape:
    """Where columns stand at one site: L layers, H key-value heads, h head size."""

    layers: int
    heads: int
    head_dim: int


class Backbone(nn.Module):
    """A frozen code model; see the families' files for the passes.

    roles: a pattern of module names for each role its linear maps have. name: what the user asked
    for (`builtin`, a hub id, a folder). hash: over the checkpoint's tensors. d_model: d.
    max_length: the most source positions a row may take (514-position tables give 512). start_id:
    the decoder's first token, where there is a decoder.
    """

    family: ClassVar[Family]
    roles: ClassVar[Mapping[Role, str]] = {}
    name: str = ""
    hash: str = ""
    tokenizer: Tokenizer
    d_model: int
    max_length: int = 512
    start_id: int = 0

    @property
    def sites(self) -> Mapping[Site, SiteShape]:
        """The sites that take prompt columns."""
        raise NotImplementedError

    @property
    def stacks(self) -> Mapping[Stack, int]:
        """The stacks that take layer vectors, with their number of layers."""
        raise NotImplementedError

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """Names of the maps that LoRA changes by default: queries and values."""
        return self.linear_maps("query", "value")

    def linear_maps(self, *roles: Role) -> tuple[str, ...]:
        """Names of the linear maps inside the layers that play one of these roles, in order."""
        wanted = [re.compile(self.roles[role]) for role in roles if role in self.roles]
        return tuple(
            name
            for name, module in self.named_modules()
            if isinstance(module, nn.Linear) and any(p.search(name) for p in wanted)
        )

    @property
    def shifted_norms(self) -> tuple[str, ...]:
        """Names of the norms with a bias, which a prompt may shift."""
        return ()

    @property
    def embedding(self) -> nn.Embedding:
        """The word embedding [V,d]."""
        raise NotImplementedError

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [H,P,h] that a site's layer makes of vectors [P,d] at its input."""
        raise NotImplementedError

    def token_states(self, hidden: Tensor, source: Source, injected: Injected = NOTHING) -> Tensor:
        """What stands at every source position [B,T,d], of what `encode` gave."""
        return hidden

    def lower(self, injection: Injection) -> Injection:
        """Turn layer vectors into the prompt columns they are (see `codeprompt.inject`)."""
        if not injection.layers:
            return injection
        columns = dict(injection.columns)
        for stack, vectors in injection.layers.items():
            pairs = [
                self.project_columns(stack, layer, vectors[layer], injection)
                for layer in range(vectors.shape[0])
            ]
            lowered = Columns(
                torch.stack([k for k, _ in pairs]), torch.stack([v for _, v in pairs])
            )
            if stack in columns:
                other = columns[stack]
                lowered = Columns(
                    torch.cat([other.key, lowered.key], 2),
                    torch.cat([other.value, lowered.value], 2),
                )
            columns[stack] = lowered
        return replace(injection, columns=columns, layers={})

    def freeze(self) -> None:
        """No gradients, no dropout."""
        self.requires_grad_(False)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype
