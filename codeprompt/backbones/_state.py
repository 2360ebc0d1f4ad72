"""A checkpoint's tensors under canonical names, checked against its configuration.

Checkpoints of one architecture differ in what they write down: tied tensors once, twice or under
another name, the `roberta.` prefix or none, `LayerNorm.gamma` for `LayerNorm.weight`, buffers, and
heads of some task. The canonical names are those of Hugging Face's `T5ForConditionalGeneration`,
`RobertaForMaskedLM` and `LlamaForCausalLM`, each tensor once:

- T5: `shared.weight`; `lm_head.weight` only where it differs from it;
- Llama: `model.*`; `lm_head.weight` only where the head is not tied;
- RoBERTa: `roberta.*`; `lm_head.{dense,layer_norm}.*` and `lm_head.bias` only where the checkpoint
  has a mask head, `lm_head.decoder.weight` only where it differs from the word embedding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from codeprompt.backbones._llama_config import LlamaConfig
from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

T5_DROPPED = re.compile(
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    r"|(classification_head|classifier|qa_outputs)\..*"
)
ROBERTA_DROPPED = re.compile(
    r"(roberta\.)?(pooler\..*|embeddings\.(position_ids|token_type_ids))|(classifier|qa_outputs)\..*"
)
LLAMA_DROPPED = re.compile(r".*rotary_emb\.inv_freq|(score|classifier|qa_outputs)\..*")
WORDS = "roberta.embeddings.word_embeddings.weight"
_LISTED = 5


def canonical_state(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the family of the configuration's `model_type` makes of a checkpoint's tensors."""
    kinds = {"t5": t5_state, "roberta": roberta_state, "llama": llama_state, "qwen2": llama_state}
    return kinds[config["model_type"]](tensors, config)


def t5_state(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Canonical tensors of a T5 checkpoint.

    Raises `BackboneError` naming each leaf that is wrong.
    """
    state = {k: v for k, v in _plain(tensors).items() if not T5_DROPPED.fullmatch(k)}
    copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    _tie(state, "shared.weight", copies)
    if "shared.weight" not in state and "lm_head.weight" in state:
        state["shared.weight"] = state.pop("lm_head.weight")
    _drop_copy(state, "lm_head.weight", "shared.weight")
    shapes = t5_shapes(config)
    _check(state, shapes, optional={"lm_head.weight": shapes["shared.weight"]})
    return state


def roberta_state(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Canonical tensors of a RoBERTa checkpoint, with its mask head or without.

    Raises `BackboneError` naming each leaf that is wrong.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in _plain(tensors).items():
        if ROBERTA_DROPPED.fullmatch(name):
            continue
        bare = name.startswith(("embeddings.", "encoder."))
        state[f"roberta.{name}" if bare else name] = tensor
    _tie(state, "lm_head.bias", ["lm_head.decoder.bias"])
    _drop_copy(state, "lm_head.decoder.weight", WORDS)
    shapes = roberta_shapes(config)
    head = mask_head_shapes(config) if has_mask_head(state) else {}
    _check(state, {**shapes, **head}, optional={"lm_head.decoder.weight": shapes[WORDS]})
    return state


def llama_state(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Canonical tensors of a Llama or Qwen2 checkpoint.

    A tied head is the embedding, whatever else the file holds under its name, as in Hugging Face.
    Raises `BackboneError` naming each leaf that is wrong.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in _plain(tensors).items():
        if LLAMA_DROPPED.fullmatch(name):
            continue
        bare = name.startswith(("embed_tokens.", "layers.", "norm."))
        state[f"model.{name}" if bare else name] = tensor
    if config.get("tie_word_embeddings"):
        if "model.embed_tokens.weight" not in state and "lm_head.weight" in state:
            state["model.embed_tokens.weight"] = state["lm_head.weight"]
        state.pop("lm_head.weight", None)
    _check(state, llama_shapes(config), optional={})
    return state


def has_mask_head(state: Mapping[str, Tensor]) -> bool:
    """Whether canonical RoBERTa tensors can answer a cloze."""
    return any(name.startswith("lm_head.") for name in state)


def t5_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Name to shape of every tensor that a T5 configuration asks for."""
    d, ff, heads = config["d_model"], config["d_ff"], config["num_heads"]
    inner = config["d_kv"] * heads
    buckets = config.get("relative_attention_num_buckets", 32)
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated-")
    out: dict[str, Shape] = {"shared.weight": (config["vocab_size"], d)}
    layers = {
        "encoder": config["num_layers"],
        "decoder": _or(config, "num_decoder_layers", config["num_layers"]),
    }
    for stack, count in layers.items():
        attentions = ["SelfAttention", "EncDecAttention"][: 1 + (stack == "decoder")]
        for block in range(count):
            root = f"{stack}.block.{block}.layer"
            for i, name in enumerate(attentions):
                for linear in "qkv":
                    out[f"{root}.{i}.{name}.{linear}.weight"] = (inner, d)
                out[f"{root}.{i}.{name}.o.weight"] = (d, inner)
                out[f"{root}.{i}.layer_norm.weight"] = (d,)
            last = f"{root}.{len(attentions)}"
            for linear in ("wi_0", "wi_1") if gated else ("wi",):
                out[f"{last}.DenseReluDense.{linear}.weight"] = (ff, d)
            out[f"{last}.DenseReluDense.wo.weight"] = (d, ff)
            out[f"{last}.layer_norm.weight"] = (d,)
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        out[bias] = (buckets, heads)
        out[f"{stack}.final_layer_norm.weight"] = (d,)
    return out


def roberta_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Name to shape of every tensor that a RoBERTa configuration asks for, mask head aside."""
    d, ff = config["hidden_size"], config["intermediate_size"]
    rows = {
        "word": config["vocab_size"],
        "position": config["max_position_embeddings"],
        "token_type": config.get("type_vocab_size", 2),
    }
    out: dict[str, Shape] = {
        f"roberta.embeddings.{name}_embeddings.weight": (count, d) for name, count in rows.items()
    }
    maps = {
        "attention.self.query": (d, d),
        "attention.self.key": (d, d),
        "attention.self.value": (d, d),
        "attention.output.dense": (d, d),
        "intermediate.dense": (ff, d),
        "output.dense": (d, ff),
    }
    norms = ["roberta.embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        root = f"roberta.encoder.layer.{layer}"
        norms += [f"{root}.attention.output.LayerNorm", f"{root}.output.LayerNorm"]
        for name, shape in maps.items():
            out[f"{root}.{name}.weight"] = shape
            out[f"{root}.{name}.bias"] = shape[:1]
    out.update({f"{norm}.{leaf}": (d,) for norm in norms for leaf in ("weight", "bias")})
    return out


def llama_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Name to shape of every tensor that a Llama or Qwen2 configuration asks for."""
    c = LlamaConfig.from_json(config)
    d, own = c.hidden_size, c.num_attention_heads * c.head_dim
    shared = c.num_key_value_heads * c.head_dim
    out: dict[str, Shape] = {"model.embed_tokens.weight": (c.vocab_size, d)}
    if not c.tied:
        out["lm_head.weight"] = (c.vocab_size, d)
    maps = {
        "self_attn.q_proj": (own, d),
        "self_attn.k_proj": (shared, d),
        "self_attn.v_proj": (shared, d),
        "self_attn.o_proj": (d, own),
        "mlp.gate_proj": (c.intermediate_size, d),
        "mlp.up_proj": (c.intermediate_size, d),
        "mlp.down_proj": (d, c.intermediate_size),
    }
    for layer in range(c.num_hidden_layers):
        root = f"model.layers.{layer}"
        for name, shape in maps.items():
            out[f"{root}.{name}.weight"] = shape
            if name.rpartition(".")[2] in c.biased:
                out[f"{root}.{name}.bias"] = shape[:1]
        out[f"{root}.input_layernorm.weight"] = (d,)
        out[f"{root}.post_attention_layernorm.weight"] = (d,)
    out["model.norm.weight"] = (d,)
    return out


def mask_head_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Name to shape of a RoBERTa mask head's own tensors."""
    d = config["hidden_size"]
    return {
        "lm_head.dense.weight": (d, d),
        "lm_head.dense.bias": (d,),
        "lm_head.layer_norm.weight": (d,),
        "lm_head.layer_norm.bias": (d,),
        "lm_head.bias": (config["vocab_size"],),
    }


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the traces of old libraries and of parallel training."""
    out = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        out[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)] = tensor
    return out


def _tie(state: dict[str, Tensor], name: str, copies: Iterable[str]) -> None:
    """Leave one tensor of those that are tied; copies that differ stay, and are unexpected."""
    for copy in copies:
        if copy in state and name not in state:
            state[name] = state.pop(copy)
        _drop_copy(state, copy, name)


def _drop_copy(state: dict[str, Tensor], copy: str, name: str) -> None:
    import torch

    if copy in state and name in state:
        a, b = state[copy], state[name]
        if a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b):
            del state[copy]


def _check(
    state: Mapping[str, Tensor], shapes: Mapping[str, Shape], optional: Mapping[str, Shape]
) -> None:
    """Compare names and shapes. Raises `BackboneError` listing what is wrong, leaf by leaf."""
    missing = [name for name in shapes if name not in state]
    unexpected = [name for name in state if name not in shapes and name not in optional]
    wrong = [
        f"{name} (expected {list(shape)}, found {list(state[name].shape)})"
        for name, shape in {**shapes, **optional}.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": wrong}
    said = [f"{kind}: {_some(names)}" for kind, names in kinds.items() if names]
    if said:
        raise BackboneError(
            "The checkpoint's tensors do not fit its config.json; " + "; ".join(said),
            do="Fetch the checkpoint again, or choose one of the families that are known",
        )


def _some(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _or(config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key)
    return default if value is None else int(value)
