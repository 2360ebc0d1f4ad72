"""What a checkpoint folder holds: its configuration and its tensors. Never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

SUPPORTED = {
    "llama": "Llama family: Llama 3, SmolLM, DeepSeek-Coder 1.3B",
    "qwen2": "Llama family: Qwen2.5-Coder",
    "roberta": "RoBERTa family: CodeBERT, GraphCodeBERT, UniXcoder, builtin-encoder",
    "t5": "T5 family: CodeT5, CodeT5+ (220m, 770m), builtin",
}
DECODERS = ("llama", "qwen2")
"""Those of them that are decoder-only."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
"""What is read beside the weights."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
OTHERS = ("*.h5", "*.msgpack", "*.onnx", "*.gguf")
_DECODER: dict[str, Any] = {
    "vocab_size": None,
    "hidden_size": None,
    "intermediate_size": None,
    "num_hidden_layers": None,
    "num_attention_heads": None,
    "num_key_value_heads": 0,
    "head_dim": 0,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
SWITCHES: dict[str, dict[str, Any]] = {
    "t5": {
        "vocab_size": None,
        "d_model": None,
        "d_kv": None,
        "d_ff": None,
        "num_layers": None,
        "num_decoder_layers": None,
        "num_heads": None,
        "scale_decoder_outputs": "",
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "relu",
        "tie_word_embeddings": True,
        "decoder_start_token_id": 0,
    },
    "roberta": {
        "vocab_size": None,
        "hidden_size": None,
        "num_hidden_layers": None,
        "num_attention_heads": None,
        "intermediate_size": None,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": None,
        "type_vocab_size": 2,
        "pad_token_id": 1,
    },
    "llama": {**_DECODER, "attention_bias": False, "mlp_bias": False},
    "qwen2": {**_DECODER, "use_sliding_window": False},
}
"""The keys of config.json that change a result, with Hugging Face's default for an absent one."""


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`. Raises `BackboneError` where it is missing, broken or of another family."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackboneError(
            f"{folder} has no config.json", expected="a Hugging Face checkpoint folder"
        ) from None
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in SUPPORTED:
        raise BackboneError(
            f"{folder} is of another architecture: its config.json says model_type {kind!r}",
            expected=" or ".join(f"{k} ({what})" for k, what in sorted(SUPPORTED.items())),
        )
    needed = [k for k, v in SWITCHES[kind].items() if v is None and k != "num_decoder_layers"]
    if missing := [key for key in needed if not isinstance(config.get(key), int)]:
        raise BackboneError(f"{path} does not say {', '.join(missing)}", expected="whole numbers")
    return dict(config)


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """The checkpoint's tensors under its own names, from one safetensors file or from shards.

    Raises `BackboneError` where weights are missing, cut, or pickled.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wanted = _weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for path in sorted(set(wanted.values())):
        try:
            tensors.update(load_file(path))
        except FileNotFoundError:
            raise BackboneError(
                f"{path} is missing, which {INDEX} names", do="Fetch the checkpoint again"
            ) from None
        except (SafetensorError, OSError, ValueError) as error:
            raise BackboneError(
                f"{path} is cut or broken: {error}", do="Fetch the checkpoint again"
            ) from error
    if lost := sorted(name for name in wanted if name and name not in tensors):
        raise BackboneError(
            f"{folder}: {INDEX} names {len(lost)} tensors that no file holds, such as {lost[0]}",
            do="Fetch the checkpoint again",
        )
    return tensors


def _weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name to file; the name is empty where one file holds all."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return {"": single}
    if not index.is_file():
        raise _no_safetensors(folder)
    try:
        names = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(f"{index} cannot be read: {error}") from error
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise BackboneError(f"{index} names a file outside its folder: {name!r}")
    return {tensor: folder / name for tensor, name in names.items()}


def _no_safetensors(folder: Path) -> BackboneError:
    if pickles := [p.name for pattern in PICKLES for p in sorted(folder.glob(pattern))]:
        return BackboneError(
            f"{folder} holds its weights only as a pickle ({pickles[0]}), which can run any code",
            expected=SINGLE,
            do=f"codeprompt convert {folder} --out DIR",
        )
    if others := [p.name for pattern in OTHERS for p in sorted(folder.glob(pattern))]:
        return BackboneError(
            f"{folder} holds its weights only as {others[0]}",
            expected=SINGLE,
            do="Save them again with transformers, from PyTorch",
        )
    return BackboneError(f"{folder} has no weights", expected=f"{SINGLE} or {INDEX}")
