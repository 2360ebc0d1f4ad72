"""The layers of the Llama family, under the checkpoint's own names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from codeprompt.backbones._llama_config import LlamaConfig
from codeprompt.backbones._t5_layers import ACTIVATIONS, RMSNorm
from codeprompt.inject import Injected


class SelfAttention(nn.Module):
    """The four maps of one attention; `name` is its path in the checkpoint."""

    def __init__(self, config: LlamaConfig, name: str) -> None:
        super().__init__()
        size, head = config.hidden_size, config.head_dim
        widths = {"q_proj": config.num_attention_heads * head}
        widths |= dict.fromkeys(("k_proj", "v_proj"), config.num_key_value_heads * head)
        for linear, width in widths.items():
            self.add_module(linear, nn.Linear(size, width, bias=linear in config.biased))
        self.o_proj = nn.Linear(widths["q_proj"], size, bias="o_proj" in config.biased)
        self.name = name

    def maps(self, x: Tensor, injected: Injected) -> list[Tensor]:
        """Queries, keys and values of normed x [B,S,d], heads joined."""
        names = ("q_proj", "k_proj", "v_proj")
        return [injected.linear(f"{self.name}.{n}", getattr(self, n), x) for n in names]

    def out(self, x: Tensor, injected: Injected) -> Tensor:
        """[B,S,H*h] -> [B,S,d]."""
        return injected.linear(f"{self.name}.o_proj", self.o_proj, x)


class FeedForward(nn.Module):
    """SwiGLU: down(act(gate x) * up x)."""

    def __init__(self, config: LlamaConfig, name: str) -> None:
        super().__init__()
        size, inner, biased = config.hidden_size, config.intermediate_size, config.biased
        self.gate_proj = nn.Linear(size, inner, bias="gate_proj" in biased)
        self.up_proj = nn.Linear(size, inner, bias="up_proj" in biased)
        self.down_proj = nn.Linear(inner, size, bias="down_proj" in biased)
        self.name = name
        self.act: Callable[[Tensor], Tensor] = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        inner = self.act(injected.linear(f"{self.name}.gate_proj", self.gate_proj, x))
        inner = inner * injected.linear(f"{self.name}.up_proj", self.up_proj, x)
        return injected.linear(f"{self.name}.down_proj", self.down_proj, inner)


class Layer(nn.Module):
    """One layer: a norm before each of the two parts."""

    def __init__(self, config: LlamaConfig, index: int) -> None:
        super().__init__()
        name = f"model.layers.{index}"
        self.self_attn = SelfAttention(config, f"{name}.self_attn")
        self.mlp = FeedForward(config, f"{name}.mlp")
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Body(nn.Module):
    """Embedding, layers and the last norm, under the checkpoint's `model`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers: Any = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
