"""What a Llama or Qwen2 checkpoint's `config.json` says; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codeprompt.backbones._rope import rope_settings
from codeprompt.errors import BackboneError


@dataclass(frozen=True)
class LlamaConfig:
    """The switches of a Llama or Qwen2 checkpoint's `config.json` that change its numbers.

    biased: the maps that carry a bias, by their last names. rope: see `rope_settings`.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    attention_dropout: float = 0.0
    tied: bool = False
    biased: frozenset[str] = frozenset()
    rope: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> LlamaConfig:
        """Read a Hugging Face configuration. Raises `BackboneError` on what this pass has not."""
        names = [n for n in LlamaConfig.__dataclass_fields__ if n not in ("tied", "biased", "rope")]
        known = {name: config[name] for name in names if config.get(name) is not None}
        heads = config["num_attention_heads"]
        shared = known.setdefault("num_key_value_heads", heads)
        known.setdefault("head_dim", config["hidden_size"] // heads)
        if heads % shared:
            raise BackboneError(
                f"The checkpoint's {heads} heads cannot share {shared} keys and values",
                expected="a number of key-value heads that divides the heads",
            )
        made = LlamaConfig(
            **known,
            tied=bool(config.get("tie_word_embeddings", False)),
            biased=_biased(config),
            rope=rope_settings(config),
        )
        _refuse_windows(config)
        return made

    @property
    def group(self) -> int:
        """G: how many heads share one key and value."""
        return self.num_attention_heads // self.num_key_value_heads


def _biased(config: Mapping[str, Any]) -> frozenset[str]:
    """Qwen2 has biases on queries, keys and values; Llama where its switches say so."""
    if config.get("model_type") == "qwen2":
        return frozenset(("q_proj", "k_proj", "v_proj"))
    attention = ("q_proj", "k_proj", "v_proj", "o_proj") if config.get("attention_bias") else ()
    feed = ("gate_proj", "up_proj", "down_proj") if config.get("mlp_bias") else ()
    return frozenset((*attention, *feed))


def _refuse_windows(config: Mapping[str, Any]) -> None:
    slides = "sliding_attention" in (config.get("layer_types") or ())
    if slides or config.get("use_sliding_window"):
        raise BackboneError(
            "The checkpoint attends through a sliding window",
            expected="full attention in every layer, as Qwen2.5-Coder, SmolLM and Llama have",
            do="Set use_sliding_window to false in its config.json where your inputs are shorter "
            "than the window, or choose another checkpoint",
        )
