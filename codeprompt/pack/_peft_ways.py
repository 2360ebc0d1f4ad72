"""The three ways into a backbone that `peft` and packs both know, each in both directions.

What peft 0.21 with transformers 5.23 does, read from its source and held to it by tests:

- Prompt tuning puts its P vectors before the whole input, special tokens included. For an
  encoder-decoder it allocates 2P and uses the first P.
- Prefix tuning fills the cache of keys and values: on T5 the decoder's self-attention and nothing
  else (its encoder gets none, the cross-attention's are thrown away), at positions before the
  real tokens (`past`). Its vectors are [P, n * 2 * H * h], as n pairs of key and value; but for an
  encoder-decoder it doubles that list and cuts it in fours, of which the cross-attention's half
  is dropped: layer l reads pair 2l mod n. With n even, half of what was trained is never read, and
  layers l and l + n/2 share their columns.
- LoRA adds alpha/r B A (alpha/sqrt(r) where rank-stabilised) to linear maps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import Columns, Delta, Injection, Site
from codeprompt.pack._peft_folder import PeftConfig
from codeprompt.pack.fit import linears
from codeprompt.template import Field, Mask, Soft, Start, Template, render, resolve

PREFIX = "base_model.model."
LORA_NAME = re.compile(r"(?:base_model\.model\.)?(?P<name>.+)\.lora_(?P<half>[AB])\.weight")


@dataclass(frozen=True)
class Exported:
    """Tensors and the keys of `adapter_config.json` that belong to them."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]


def leading(template: Template, backbone: Backbone) -> tuple[list[int], list[int], Template]:
    """What stands before a template's fields up to its last slot: (ids, slots, the rest).

    Raises `PackError` where a field or a mask comes before a slot.
    """
    last = max(i for i, s in enumerate(template.segments) if isinstance(s, Soft))
    head = Template(template.segments[: last + 1])
    if moving := [Template((s,)) for s in head.segments if isinstance(s, Field | Mask)]:
        raise PackError(
            f"The template has soft slots after {moving[0]}, and peft puts all its vectors before "
            "the input",
            expected="a template whose slots all come first, after hard words at most",
            do="Tune it again with such a template",
        )
    tokenizer = backbone.tokenizer
    rendered = render(head, {}, tokenizer, max_length=1 << 30)
    end = len(rendered.ids) - len(tokenizer.suffix_ids)
    rest = Template(template.segments[last + 1 :])
    # Where the tokenizer's first tokens stand behind the slots, they belong to the input.
    first = len(tokenizer.prefix_ids) if any(isinstance(s, Start) for s in rest.segments) else 0
    return list(rendered.ids[first:end]), list(rendered.slots[first:end]), rest


def export_prompt(injection: Injection, template: Template, backbone: Backbone) -> Exported:
    """Slots, and the special tokens and hard words before them, as peft's virtual tokens."""
    assert injection.slots is not None  # the caller chose this way by it
    ids, slots, _ = leading(template, backbone)
    table, index = backbone.embedding.weight.detach().float().cpu(), torch.tensor(slots)
    hard = table[torch.tensor(ids)]
    soft = injection.slots.float()[index.clamp(min=0)]
    rows = torch.where((index >= 0)[:, None], soft, hard)
    config = {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM"}
    return Exported(
        {"prompt_embeddings": rows}, config | _virtual(backbone, len(ids), backbone.d_model, 1)
    )


def import_prompt(
    tensors: Mapping[str, Tensor], config: PeftConfig, template: Template, backbone: Backbone
) -> tuple[Injection, Template]:
    """Virtual tokens as slots of a template; one without slots gets them all before its start."""
    rows, length = _embeddings(tensors), _given(config, "num_virtual_tokens")
    if rows.shape[0] % length or rows.shape[1] != backbone.d_model:
        raise PackError(
            f"The peft checkpoint's prompt has the shape {list(rows.shape)}",
            expected=f"{length} vectors of size {backbone.d_model}, as {backbone.name} has",
        )
    rows = rows[:length].float()
    if not template.soft:
        start = (Start(),) if backbone.tokenizer.prefix_ids else ()
        template = Template((Soft(length), *start, *template.segments))
    template = resolve(template, backbone.tokenizer)
    ids, slots, _ = leading(template, backbone)
    table = backbone.embedding.weight.detach().float().cpu()
    hard = torch.tensor(slots) < 0
    fits = len(ids) == length
    if not fits or not torch.allclose(rows[hard], table[torch.tensor(ids)[hard]], 1e-5, 1e-6):
        raise PackError(
            f"The checkpoint has {length} vectors, and the template {len(ids)} positions up to its "
            f"last slot, {sum(slot < 0 for slot in slots)} of them tokens",
            expected="as many, those of tokens being the tokens' own embeddings",
            do="Leave {soft} out of the template: all vectors then go to the front, before the "
            "first special token, where peft puts them",
        )
    vectors: dict[int, Tensor] = {}
    for slot, row in zip(slots, rows, strict=True):
        if slot >= 0 and not torch.equal(vectors.setdefault(slot, row), row):
            raise PackError(
                "The template's soft segments share vectors, and the checkpoint's differ",
                do="Leave `share` out of the template",
            )
    return Injection(slots=torch.stack([vectors[i] for i in sorted(vectors)])), template


def export_prefix(injection: Injection, backbone: Backbone) -> Exported:
    """Columns with the `past` convention as peft's flat prefix."""
    site: Site = "encoder" if backbone.family == "roberta" else "decoder"
    if list(injection.columns) != [site]:
        raise PackError(
            f"The pack has columns in {' and '.join(injection.columns)}",
            expected=f"columns in the {site}'s self-attention alone, where peft puts them",
            do="Tune it again with sites=" + site,
        )
    columns = injection.columns[site]
    if columns.convention != "past":
        raise PackError(
            "The pack's columns move no positions, and peft's move the real tokens behind them: "
            "the same columns would give other logits",
            do="Only columns that came from peft can go back there",
        )
    if columns.log_scale is not None and bool((columns.log_scale != 0).any()):
        raise PackError("The pack's columns are scaled, which peft cannot express")
    layers, heads, length, size = columns.key.shape
    pairs = torch.stack([columns.key, columns.value], 1).float()  # [L,2,H,P,h]
    if backbone.family == "t5":
        stored = torch.zeros_like(pairs)
        for layer in range(layers):
            pair = 2 * layer % layers
            if (
                2 * layer >= layers
                and layers % 2 == 0
                and not torch.equal(stored[pair], pairs[layer])
            ):
                raise PackError(
                    f"With {layers} decoder layers peft reads the same columns in layers "
                    f"{layer - layers // 2} and {layer}, and the pack has others in each",
                    do="Keep it as a pack: peft cannot express it",
                )
            stored[pair] = pairs[layer]
        pairs = stored
    flat = pairs.permute(3, 0, 1, 2, 4).reshape(length, -1)
    submodules = 2 if backbone.family == "t5" else 1
    config = {"peft_type": "PREFIX_TUNING", "prefix_projection": False}
    return Exported(
        {"prompt_embeddings": flat}, config | _virtual(backbone, length, heads * size, submodules)
    )


def import_prefix(
    tensors: Mapping[str, Tensor], config: PeftConfig, backbone: Backbone
) -> Injection:
    """peft's flat prefix as columns with the `past` convention."""
    site: Site = "encoder" if backbone.family == "roberta" else "decoder"
    shape, submodules = backbone.sites[site], 2 if backbone.family == "t5" else 1
    found = config.num_transformer_submodules
    if found not in (None, submodules):
        raise PackError(
            f"The checkpoint says num_transformer_submodules = {found}, which peft cannot run on "
            f"the {backbone.family} family",
            expected=str(submodules),
        )
    flat, length = _embeddings(tensors), _given(config, "num_virtual_tokens")
    pairs, heads = _given(config, "num_layers"), _given(config, "num_attention_heads")
    wanted = (length, pairs * 2 * shape.heads * shape.head_dim)
    enough = pairs >= shape.layers if backbone.family == "t5" else pairs == shape.layers
    if tuple(flat.shape) != wanted or heads != shape.heads or not enough:
        raise PackError(
            f"The checkpoint's prefix has the shape {list(flat.shape)} for {pairs} layers of "
            f"{heads} heads",
            expected=f"[{length}, {shape.layers} * 2 * {shape.heads} * {shape.head_dim}], as "
            f"{backbone.name} has",
            do="Import it for the backbone it was trained on",
        )
    both = flat.float().view(length, pairs, 2, heads, -1).permute(1, 2, 3, 0, 4)  # [n,2,H,P,h]
    step = 2 if backbone.family == "t5" else 1
    read = both[[step * layer % pairs for layer in range(shape.layers)]]
    return Injection(columns={site: Columns(read[:, 0], read[:, 1], None, "past")})


def export_lora(injection: Injection, backbone: Backbone) -> Exported:
    """Low-rank changes, their scale folded into B, so that alpha = r."""
    pairs = {name: (d.down, d.up) for name, d in injection.deltas.items()}
    halves = {n: (a, b) for n, (a, b) in pairs.items() if a is not None and b is not None}
    ranks = {name: down.shape[0] for name, (down, _) in halves.items()}
    common = max(set(ranks.values()), key=list(ranks.values()).count)
    others = {name: rank for name, rank in ranks.items() if rank != common}
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in halves.items():
        path = PREFIX + outer_name(name, backbone)
        tensors[f"{path}.lora_A.weight"] = down.float()
        tensors[f"{path}.lora_B.weight"] = up.float()
    pattern = {re.escape(outer_name(name, backbone)): rank for name, rank in others.items()}
    return Exported(
        tensors,
        {
            "peft_type": "LORA",
            "r": common,
            "lora_alpha": common,
            "rank_pattern": pattern,
            "alpha_pattern": pattern,
            "target_modules": sorted(outer_name(name, backbone) for name in ranks),
            "bias": "none",
            "fan_in_fan_out": False,
            "lora_dropout": 0.0,
        },
    )


def import_lora(tensors: Mapping[str, Tensor], config: PeftConfig, backbone: Backbone) -> Injection:
    """Low-rank changes with their scale folded into B."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = LORA_NAME.fullmatch(key)
        name = inner_name(match["name"], backbone) if match else None
        if match is None or name is None:
            raise PackError(
                f"The checkpoint changes '{key.removeprefix(PREFIX)}', which a pack on "
                f"{backbone.name} cannot express",
                expected="low-rank changes of the linear maps inside its layers, and no more",
            )
        halves.setdefault(name, {})[match["half"]] = tensor.float()
    deltas: dict[str, Delta] = {}
    for name, half in halves.items():
        if set(half) != {"A", "B"} or any(t.dim() != 2 or 0 in t.shape for t in half.values()):
            raise PackError(f"The checkpoint's matrices for '{name}' are not a whole pair A, B")
        rank = half["A"].shape[0]
        alpha = _pattern(config.alpha_pattern, name)
        if alpha is None:
            alpha = config.lora_alpha if config.lora_alpha is not None else 8.0  # peft's default
        scale = alpha / (math.sqrt(rank) if config.use_rslora else rank)
        deltas[name] = Delta(half["A"], half["B"] * scale)
    return Injection(deltas=deltas)


def _pattern(patterns: Mapping[str, float], name: str) -> float | None:
    """The value of the first pattern that a module's name ends in, as peft looks it up."""
    for key, value in patterns.items():
        plain = re.sub(r"\\(.)", r"\1", key)
        if re.search(r"[\^$*+?()\[\]{}|]", plain):
            raise PackError(
                f"The checkpoint's alpha_pattern has the expression '{key}'",
                expected="names of modules",
            )
        if name == plain or name.endswith(f".{plain}"):
            return value
    return None


def _embeddings(tensors: Mapping[str, Tensor]) -> Tensor:
    more = sorted(set(tensors) - {"prompt_embeddings"})
    if more:
        raise PackError(
            f"The checkpoint holds more than a prompt: {', '.join(more[:3])}",
            expected="the tensor 'prompt_embeddings' alone",
            do="A classification head of transformers has two layers, which a pack cannot "
            "express; train with task_type FEATURE_EXTRACTION instead",
        )
    found = tensors.get("prompt_embeddings")
    if found is None or found.dim() != 2 or 0 in found.shape:
        raise PackError("The checkpoint has no prompt", expected="a tensor 'prompt_embeddings'")
    return found


def _given(config: PeftConfig, key: str) -> int:
    value = getattr(config, key)
    if not isinstance(value, int) or value < 1:
        raise PackError(f"adapter_config.json says {key} = {value}", expected="a positive number")
    return value


def _virtual(backbone: Backbone, length: int, size: int, submodules: int) -> dict[str, Any]:
    site = backbone.sites["encoder" if backbone.family == "roberta" else "decoder"]
    return {
        "num_virtual_tokens": length,
        "token_dim": size,
        "num_transformer_submodules": submodules,
        "num_attention_heads": site.heads,
        "num_layers": site.layers,
    }


def outer_name(name: str, backbone: Backbone) -> str:
    """A map's name in the Hugging Face module: RoBERTa without its head is not nested."""
    bare = backbone.family == "roberta" and not getattr(backbone, "has_mask_head", False)
    return name.removeprefix("roberta.") if bare else name


def inner_name(name: str, backbone: Backbone) -> str | None:
    """The inverse, with a head or without; None where no such map may be changed."""
    known = linears(backbone)
    return next((one for one in (f"roberta.{name}", name) if one in known), None)
