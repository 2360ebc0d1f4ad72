"""Whether a pack belongs to a backbone."""

from __future__ import annotations

import math

from torch import Tensor, nn

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import SITES, Injection
from codeprompt.inject.gate import check_gate
from codeprompt.inject.late import check_late
from codeprompt.pack.packed import Pack
from codeprompt.pack.parts import RESTORE, wrong_shape


def check_backbone(pack: Pack, backbone: Backbone) -> None:
    """Whether a pack may act on a backbone. Raises `PackError`: found, expected, what to do.

    A pack that holds weights is compared with the backbone these started from.
    """
    own = pack.card.backbone
    if own.family != backbone.family:
        raise PackError(
            f"'{pack.card.name}' was made for a backbone of the {own.family} family "
            f"({own.name}), and {backbone.name} is of the {backbone.family} family",
            do=f"Load it with --backbone {own.name}",
        )
    if own.hash != backbone.hash:
        raise PackError(
            f"'{pack.card.name}' was made for {own.name} ({_short(own.hash)}), and "
            f"{backbone.name} is {_short(backbone.hash)}",
            expected="the very weights it was tuned on: a prompt says nothing to others",
            do=f"Load it with --backbone {own.name}, or tune it again for {backbone.name}",
        )
    if own.tokenizer != backbone.tokenizer.hash:
        raise PackError(
            f"The tokenizer of {backbone.name} is not the one '{pack.card.name}' was made with",
            expected=f"{_short(own.tokenizer)}, found {_short(backbone.tokenizer.hash)}",
            do="Fetch the checkpoint again with its tokenizer files",
        )
    if own.d_model != backbone.d_model:
        raise PackError(
            f"'{pack.card.name}' has vectors of size {own.d_model}",
            expected=f"{backbone.d_model}, as {backbone.name} has",
        )
    check_shapes(pack.injection, backbone)


def check_shapes(injection: Injection, backbone: Backbone) -> None:
    """Every tensor fits the backbone. Raises `PackError` with the tensor's name."""
    d = backbone.d_model
    if injection.slots is not None and injection.slots.shape[-1] != d:
        wrong_shape("slots", injection.slots, f"[P, {d}]")
    if injection.gate is not None:
        check_gate(f"gates.{injection.gate.over}", injection.tensors(), d)
    if injection.late is not None:
        check_late(injection.tensors(), d, backbone.stacks.get("encoder", 0))
    _check_sites(injection, backbone)
    for stack, vectors in injection.layers.items():
        layers = backbone.stacks.get(stack)
        if layers is None:
            raise PackError(f"{backbone.name} has no {stack}, which the pack has vectors for")
        if (vectors.shape[0], vectors.shape[2]) != (layers, d):
            wrong_shape(f"layers.{stack}", vectors, f"[{layers}, P, {d}]")
    if injection.added is not None and injection.added.shape[-1] != d:
        wrong_shape("added", injection.added, f"[S, {d}]")
    _check_deltas(injection, backbone)
    if injection.head is not None:
        labels = injection.head.weight.shape[0]
        if injection.head.weight.shape[1] != d:
            wrong_shape("head.weight", injection.head.weight, f"[{labels}, {d}]")
        if tuple(injection.head.bias.shape) != (labels,):
            wrong_shape("head.bias", injection.head.bias, f"[{labels}]")
    if injection.weights:
        state = backbone.state_dict()
        for name, tensor in injection.weights.items():
            if name not in state:
                raise PackError(f"The pack holds the weight '{name}', which {backbone.name} lacks")
            if tensor.shape != state[name].shape:
                wrong_shape(f"weights.{name}", tensor, str(list(state[name].shape)))


def _check_deltas(injection: Injection, backbone: Backbone) -> None:
    known, norms = linears(backbone), set(backbone.shifted_norms)
    for name, delta in injection.deltas.items():
        parts = delta.parts
        if name in norms:
            rows = columns = backbone.d_model
            strange = set(parts) - {"shift"}
        elif name in known:
            rows, columns = known[name].out_features, known[name].in_features
            gains = name in backbone.linear_maps("feed-out")
            strange = {"gain"} & set(parts) if not gains else set()
        else:
            raise PackError(
                f"The pack changes the linear map '{name}', which {backbone.name} does not have "
                "or does not let prompts change",
                do=RESTORE,
            )
        if strange:
            raise PackError(
                f"The pack's tensor 'deltas.{name}.{min(strange)}' is no change of that map",
                expected="a gain at a feed-forward's output map alone, a shift alone at a norm",
                do=RESTORE,
            )
        rank = delta.down.shape[0] if delta.down is not None else 0
        wide = delta.inner.shape[0] if delta.inner is not None else 0
        shapes = {
            "down": (rank, columns),
            "up": (rows, rank),
            "shift": (rows,),
            "scale": (rows,),
            "gain": (columns,),
            "inner": (wide, rows),
            "inner_bias": (wide,),
            "outer": (rows, wide),
            "outer_bias": (rows,),
        }
        for part, tensor in parts.items():
            if tuple(tensor.shape) != shapes[part]:
                wrong_shape(f"deltas.{name}.{part}", tensor, str(list(shapes[part])))


def linears(backbone: Backbone) -> dict[str, nn.Linear]:
    """The linear maps that read a prompt's deltas: all but a decoder's head."""
    return {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    }


def _check_sites(injection: Injection, backbone: Backbone) -> None:
    for site in SITES:
        columns, branch = injection.columns.get(site), injection.branches.get(site)
        shape = backbone.sites.get(site)
        if columns is None and branch is None:
            continue
        if shape is None:
            raise PackError(
                f"{backbone.name} has no {site} attention, which the pack has parts for"
            )
        parts: dict[str, Tensor] = {}
        if columns is not None:
            parts |= {f"columns.{site}.key": columns.key, f"columns.{site}.value": columns.value}
            scale, length = columns.log_scale, columns.length
            if scale is not None and math.prod(scale.shape) not in (1, length):
                wrong_shape(f"columns.{site}.log_scale", scale, f"[{length}]")
            if columns.value.shape[2] != length:
                wrong_shape(
                    f"columns.{site}.value", columns.value, f"{length} columns, as the keys"
                )
        if branch is not None:
            parts |= {f"branches.{site}.key": branch.key, f"branches.{site}.value": branch.value}
            if tuple(branch.gate.shape) != (shape.layers,):
                wrong_shape(f"branches.{site}.gate", branch.gate, f"[{shape.layers}]")
            if branch.value.shape[2] != branch.key.shape[2]:
                wrong_shape(f"branches.{site}.value", branch.value, "as many columns as the keys")
        wanted = (shape.layers, shape.heads, shape.head_dim)
        for name, tensor in parts.items():
            if (*tensor.shape[:2], tensor.shape[3]) != wanted:
                wrong_shape(name, tensor, f"[{shape.layers}, {shape.heads}, P, {shape.head_dim}]")


def _short(value: str) -> str:
    return f"hash {value[:12]}" if value else "without a hash"
