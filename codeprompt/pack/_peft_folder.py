"""The files of a `peft` checkpoint, read with suspicion, and the note we lay beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.pack.card import MAX_BYTES, MAX_DEPTH, depth

CONFIG, MODEL, NOTE = "adapter_config.json", "adapter_model.safetensors", "codeprompt.json"
T = TypeVar("T")
OURS = {CONFIG, MODEL, NOTE, "README.md"}
METHODS = {
    "PROMPT_TUNING": "soft",
    "P_TUNING": "soft",
    "PREFIX_TUNING": "prefix",
    "LORA": "lora",
    "IA3": "ia3",
}
TASK_TYPES: dict[str, tuple[str, ...]] = {
    "t5": ("SEQ_2_SEQ_LM",),
    "roberta": ("FEATURE_EXTRACTION",),
    "llama": ("CAUSAL_LM",),
}
DELTAS = {"LORA": "LoRA", "IA3": "IA3"}
SWITCHES = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "modules_to_save",
)
"""Variants that change what the tensors mean, or train something beside them."""
INITIAL = (True, False, "true", "gaussian", "eva", "orthogonal")
"""Initial values that leave the backbone's weights alone (PiSSA, OLoRA, CorDA do not)."""


class Note(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What peft has no place for, beside its two files, so that an import gives the pack again."""

    task: str
    template: str
    rest: str
    verbalizer: dict[str, Any] | None
    prior: list[float] | None
    labels: list[str]
    positive: str | None
    threshold: float | None
    decoding: dict[str, Any]
    source_length: int
    target_length: int
    backbone: str


class PeftConfig(msgspec.Struct):
    """What we read of an `adapter_config.json`; `None` where the kind of adapter has it not."""

    peft_type: str
    task_type: str | None = None
    peft_version: str = ""
    num_virtual_tokens: int | None = None
    token_dim: int | None = None
    num_transformer_submodules: int | None = None
    num_attention_heads: int | None = None
    num_layers: int | None = None
    r: int | None = None
    lora_alpha: float | None = None
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    bias: str = "none"
    alpha_pattern: dict[str, float] = {}


def read_config(folder: Path, backbone: Backbone) -> PeftConfig:
    """The checkpoint's configuration. Raises `PackError` on what a pack cannot express."""
    if not (folder / MODEL).exists() and (folder / "adapter_model.bin").exists():
        raise PackError(
            f"{folder} holds its adapter as a pickle, which may run code when read",
            expected=MODEL,
            do="Save it again with peft: model.save_pretrained(FOLDER, safe_serialization=True)",
        )
    path = regular(folder / CONFIG, MAX_BYTES)
    raw = _json(path, dict[str, Any])
    config = _json(path, PeftConfig)
    if config.peft_type not in METHODS:
        raise PackError(
            f"{folder} is a {config.peft_type} checkpoint, which a pack cannot express",
            expected="one of " + ", ".join(METHODS),
        )
    types: tuple[str, ...] = TASK_TYPES[backbone.family]
    if config.peft_type in DELTAS:
        _check_deltas(raw, config)
        types = (*types, "FEATURE_EXTRACTION", "")
    if (config.task_type or "") not in types:
        raise PackError(
            f"{folder} was trained as {config.task_type}",
            expected=f"{' or '.join(t or 'no task type' for t in dict.fromkeys(types))}, which "
            f"runs a {backbone.family} backbone as we do",
        )
    return config


def _check_deltas(raw: Mapping[str, Any], config: PeftConfig) -> None:
    if used := [name for name in SWITCHES if raw.get(name)]:
        raise PackError(
            f"The checkpoint's {DELTAS[config.peft_type]} uses {', '.join(used)}, which a pack "
            "cannot express",
            do="Merge it in peft, or train it again without",
        )
    if config.bias != "none":
        raise PackError(f"The checkpoint trains biases too (bias = '{config.bias}')")
    if config.init_lora_weights not in INITIAL:
        raise PackError(
            f"The checkpoint's initial values ('{config.init_lora_weights}') changed the "
            "backbone's own weights",
            do="Save it with peft's path_initial_model_for_weight_conversion",
        )
    if config.lora_alpha is not None and not math.isfinite(config.lora_alpha):
        raise PackError(f"adapter_config.json says lora_alpha = {config.lora_alpha}")


def read_note(folder: Path, backbone: Backbone) -> Note | None:
    path = folder / NOTE
    if not path.exists():
        return None
    note = _json(regular(path, MAX_BYTES), Note)
    if note.backbone != backbone.hash:
        raise PackError(
            f"{folder} was exported for another backbone (hash {note.backbone[:12]}), and "
            f"{backbone.name} is {backbone.hash[:12]}",
            do="Import it for the backbone it was made for",
        )
    return note


def _json(path: Path, kind: type[T]) -> T:
    try:
        data = path.read_bytes()
        if depth(data) > MAX_DEPTH:
            raise PackError(f"{path} is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
        return msgspec.json.decode(data, type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"{path} is not readable: {error}", do="Fetch it again") from error


def regular(path: Path, limit: int) -> Path:
    """An existing file of bearable size; links are fine here, as the hub's cache has them."""
    try:
        if not path.is_file():
            raise PackError(
                f"{path.parent} lacks {path.name}",
                expected=f"a folder with {CONFIG} and {MODEL}",
            )
        size = path.stat().st_size
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error.strerror}") from error
    if size > limit:
        raise PackError(f"{path} has {size:,} bytes", expected=f"at most {limit:,}")
    return path
