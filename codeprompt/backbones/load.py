"""From a name to a backbone: find the checkpoint, pick the family, fill the pass, freeze it.

The pass is built on the meta device and takes the checkpoint's tensors as they lie in the mapped
file, so that a float32 checkpoint is never held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.checkpoint import (
    DECODERS,
    canonical_state,
    has_mask_head,
    hash_folder,
    load_tensors,
    read_config,
    resolve,
)
from codeprompt.backbones.llama import Llama, LlamaConfig
from codeprompt.backbones.roberta import Roberta, RobertaConfig
from codeprompt.backbones.t5 import ACTIVATIONS, T5, T5Config
from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import BackboneError

BUILTINS = ("builtin", "builtin-encoder")
UNIXCODER = "<encoder-only>"


def load_backbone(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    allow_hub: bool = True,
    device: str | torch.device = "cpu",
) -> Backbone:
    """A frozen backbone with its tokenizer and hash.

    name: `builtin`, `builtin-encoder`, a folder or a hub id. Raises `BackboneError` where it cannot
    be found, is of another architecture, is cut or is unsafe to read.
    """
    folder = resolve(name, allow_hub=allow_hub)
    config = read_config(folder)
    make = _maker(config)
    state = canonical_state(load_tensors(folder), config)
    backbone = fill(make, state, dtype=dtype, device=device)
    equip(backbone, folder, name=_told(name, folder))
    backbone.hash = hash_folder(folder)
    return backbone


def _told(name: str, folder: Path) -> str:
    """What a card says: the exact backbone behind `builtin`; of a home folder no user's name."""
    if name in BUILTINS:
        return folder.name
    path, home = Path(name), Path.home()
    if path.is_absolute() and path.is_relative_to(home):
        return f"~/{path.relative_to(home).as_posix()}"
    return name


def fill(
    make: Callable[[Mapping[str, Tensor]], Backbone],
    state: dict[str, Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Backbone:
    """A pass with canonical tensors for its parameters, shared where they are already as wanted.

    state: emptied on the way, so that a conversion to `dtype` holds one tensor twice, not all.
    """
    with torch.device("meta"), _Unfilled():
        backbone = make(state)
    filled: dict[nn.Parameter, nn.Parameter] = {}
    for name, parameter in backbone.named_parameters():
        tensor = state.pop(name).to(device=device, dtype=dtype)
        filled[parameter] = nn.Parameter(tensor, requires_grad=False)
    for module in backbone.modules():  # a tied parameter stands at two places
        own = list(module.named_parameters(recurse=False, remove_duplicate=False))
        for attribute, parameter in own:
            setattr(module, attribute, filled[parameter])
    return backbone


def equip(backbone: Backbone, folder: Path, *, name: str) -> None:
    """Give a filled pass its name and its folder's tokenizer, and freeze it."""
    # What follows a source is written by a decoder-only model itself: no end token before it.
    tokenizer = Tokenizer.load(folder, suffix=() if isinstance(backbone, Llama) else None)
    if UNIXCODER in tokenizer.vocab:  # UniXcoder wants its mode named before the source
        tokenizer = Tokenizer.load(folder, prefix=("<s>", UNIXCODER, "</s>"))
    rows = backbone.embedding.num_embeddings
    if tokenizer.vocab_size > rows:
        raise BackboneError(
            f"The tokenizer of {name} has {tokenizer.vocab_size} tokens, its embedding {rows} rows",
            expected="a tokenizer that belongs to the checkpoint",
            do="Fetch the checkpoint again with its tokenizer files",
        )
    backbone.name, backbone.tokenizer = name, tokenizer
    if isinstance(backbone, Llama):
        backbone.start_id = tokenizer.stand_in
    backbone.freeze()


def summary(backbone: Backbone) -> dict[str, Any]:
    """What `codeprompt list backbones` and `doctor` say of a loaded backbone, as plain values."""
    return {
        "name": backbone.name,
        "family": backbone.family,
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "d_model": backbone.d_model,
        "layers": dict(backbone.stacks),
        "max_length": backbone.max_length,
        "hash": backbone.hash,
        "dtype": str(backbone.dtype).removeprefix("torch."),
    }


class _Unfilled(TorchFunctionMode):
    """Modules without their random values: on the meta device, drawing them imports a compiler.

    That would take 75 MB and a second, for numbers that are replaced at once.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _maker(config: Mapping[str, Any]) -> Callable[[Mapping[str, Tensor]], Backbone]:
    """What builds the empty pass, once the canonical tensors tell which head it has."""
    if config["model_type"] == "t5":
        return _t5(T5Config.from_json(config))
    if config["model_type"] in DECODERS:
        return _llama(LlamaConfig.from_json(config))
    return _roberta(RobertaConfig.from_json(config))


def _llama(config: LlamaConfig) -> Callable[[Mapping[str, Tensor]], Backbone]:
    _check_activation(config.hidden_act)
    return lambda state: Llama(config)


def _check_activation(name: str) -> None:
    if name not in ACTIVATIONS:
        raise BackboneError(
            f"The checkpoint's activation is '{name}'",
            expected="one of: " + ", ".join(sorted(ACTIVATIONS)),
            do="Choose another checkpoint",
        )


def _t5(config: T5Config) -> Callable[[Mapping[str, Tensor]], Backbone]:
    _check_activation(config.activation)

    def make(state: Mapping[str, Tensor]) -> Backbone:
        backbone = T5(config)
        if "lm_head.weight" in state:
            backbone.lm_head.weight = nn.Parameter(torch.empty_like(backbone.shared.weight))
        return backbone

    return make


def _roberta(config: RobertaConfig) -> Callable[[Mapping[str, Tensor]], Backbone]:
    def make(state: Mapping[str, Tensor]) -> Backbone:
        backbone = Roberta(config, mask_head=has_mask_head(state))
        if backbone.lm_head is not None and "lm_head.decoder.weight" in state:
            own = torch.empty_like(backbone.embedding.weight)
            backbone.lm_head.decoder.weight = nn.Parameter(own)
        return backbone

    return make
