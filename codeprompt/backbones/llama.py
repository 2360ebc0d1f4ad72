"""Llama family: Llama, Qwen2.5-Coder and SmolLM shapes (decoder-only).

Touvron et al. 2023 and Qwen2 (Yang et al. 2024), as in Hugging Face's `LlamaForCausalLM` and
`Qwen2ForCausalLM`, whose parameter names are kept: rotary positions, heads that share keys and
values, RMSNorm before each part, SwiGLU. Ours differs in how it runs: a source is read once and
all its beams share what it left, beams are folded into the query axis, sources may be padded on
either side, and prompt columns stand in every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from codeprompt.backbones._causal import Causal, Memory
from codeprompt.backbones._llama_config import LlamaConfig
from codeprompt.backbones._llama_layers import Body
from codeprompt.backbones._loss import summed_cross_entropy
from codeprompt.backbones._rope import frequencies
from codeprompt.backbones.base import Backbone, Family, Role, SiteShape
from codeprompt.inject import Injected, Injection, Site, Stack, collate

__all__ = ["FAMILY", "Llama", "LlamaConfig", "Memory"]


class Llama(Causal, Backbone):
    """A decoder-only model of the Llama family."""

    family: ClassVar[Family] = "llama"
    roles: ClassVar[Mapping[Role, str]] = {
        "query": r"\.q_proj$",
        "key": r"\.k_proj$",
        "value": r"\.v_proj$",
        "attention-out": r"\.o_proj$",
        "feed-in": r"\.(gate|up)_proj$",
        "feed-out": r"\.down_proj$",
    }

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        c = self.config = config
        self.d_model, self.max_length = c.hidden_size, c.max_position_embeddings
        self.shape = (c.num_attention_heads, c.num_key_value_heads, c.head_dim)
        self.turns, self.depth = frequencies(c.rope, c.head_dim), c.num_hidden_layers
        self.model = Body(c)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        if c.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def sites(self) -> Mapping[Site, SiteShape]:
        _, heads, size = self.shape
        return {"decoder": SiteShape(self.depth, heads, size)}

    @property
    def stacks(self) -> Mapping[Stack, int]:
        return {"decoder": self.depth}

    @property
    def embedding(self) -> nn.Embedding:
        return self.model.embed_tokens

    def project_columns(
        self, site: Site, layer: int, vectors: Tensor, injection: Injection
    ) -> tuple[Tensor, Tensor]:
        rows = collate([Injection(deltas=injection.deltas)])
        return self.columns_of(layer, vectors.to(self.dtype), rows)

    def look_up(self, ids: Tensor) -> Tensor:
        found: Tensor = self.model.embed_tokens(ids)
        return found

    def maps(self, layer: int, x: Tensor, injected: Injected) -> list[Tensor]:
        block: Any = self.model.layers[layer]
        found: list[Tensor] = block.self_attn.maps(block.input_layernorm(x), injected)
        return found

    def after(self, layer: int, x: Tensor, attended: Tensor, injected: Injected) -> Tensor:
        block: Any = self.model.layers[layer]
        x = x + block.self_attn.out(attended, injected)
        out: Tensor = x + block.mlp(block.post_attention_layernorm(x), injected)
        return out

    def finish(self, x: Tensor) -> Tensor:
        out: Tensor = self.model.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [...,d] -> logits [...,V]."""
        return F.linear(hidden, self.lm_head.weight)

    def token_loss(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Summed cross-entropy of `logits(hidden)`: hidden [N,d], tokens [N]."""
        return summed_cross_entropy(hidden, self.lm_head.weight, tokens)


FAMILY = Llama
