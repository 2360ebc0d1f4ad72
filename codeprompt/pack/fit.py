"""Whether the parts of a pack belong together, and whether the pack belongs to a backbone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError, TemplateError, UsageError
from codeprompt.inject import SITES, Injection
from codeprompt.pack.card import Card
from codeprompt.template import Template, parse, slot_indices
from codeprompt.verbalizers import Verbalizer

if TYPE_CHECKING:
    from codeprompt.pack.store import Pack

RESTORE = "Restore the pack from where it came from, or tune it again"


def read_template(card: Card) -> Template:
    """The card's template. Raises `PackError` where it does not parse."""
    try:
        return parse(card.template)
    except TemplateError as error:
        raise PackError(f"The template on the card of '{card.name}': {error}") from error


def read_verbalizer(card: Card) -> Verbalizer | None:
    """The card's label words. Raises `PackError` where they are malformed."""
    if card.verbalizer is None:
        return None
    try:
        return Verbalizer.from_dict(card.verbalizer)
    except UsageError as error:
        raise PackError(f"The verbalizer on the card of '{card.name}': {error}") from error


def slots_of(template: Template) -> int:
    """P of a resolved template. Raises `PackError` where a count is missing."""
    try:
        return max((indices.stop for indices in slot_indices(template)), default=0)
    except TemplateError as error:
        raise PackError(f"The template of the pack is not resolved: {error}") from error


def check_parts(card: Card, injection: Injection) -> None:
    """Card and tensors say the same, whatever the backbone. Raises `PackError`."""
    name = card.name
    holds = "weights" if injection.weights else "prompt"
    if card.holds != holds:
        raise PackError(f"The card of '{name}' says it holds {card.holds}, and it holds {holds}")
    sites = {site: columns.convention for site, columns in injection.columns.items()}
    if card.conventions != sites:
        raise PackError(
            f"The card of '{name}' gives conventions for {sorted(card.conventions)}",
            expected=f"one for each site with columns: {sorted(sites)}",
        )
    _check_ranks(injection)
    wanted, found = slots_of(read_template(card)), injection.length
    if wanted != found:
        raise PackError(
            f"The template of '{name}' has {wanted} soft slots, and the pack {found} vectors",
            do=RESTORE,
        )
    _check_labels(card, injection)
    for key, tensor in injection.tensors().items():
        if not tensor.is_floating_point():
            raise PackError(f"The tensor '{key}' of '{name}' is not of floating point")
        # A column's log-scale of -inf is the frozen model, and the only infinity with a meaning.
        known = tensor.clamp(min=-1.0) if key.endswith(".log_scale") else tensor
        if not bool(torch.isfinite(known).all()):
            raise PackError(
                f"The tensor '{key}' of '{name}' has values that are not finite",
                do="Tune it again with a lower learning rate",
            )


def _check_labels(card: Card, injection: Injection) -> None:
    labels, name = card.labels, card.name
    if len(set(labels)) != len(labels):
        raise PackError(f"The card of '{name}' has a label twice: {', '.join(labels)}")
    verbalizer = read_verbalizer(card)
    if verbalizer is not None and list(verbalizer.labels) != labels:
        raise PackError(
            f"The verbalizer of '{name}' has the labels {', '.join(verbalizer.labels)}",
            expected="those of the card: " + ", ".join(labels),
        )
    if card.positive is not None and card.positive not in labels:
        raise PackError(
            f"The positive label of '{name}' is '{card.positive}'",
            expected="one of its labels: " + ", ".join(labels),
        )
    if card.prior is not None and len(card.prior) != len(labels):
        raise PackError(f"The prior of '{name}' has {len(card.prior)} entries, not {len(labels)}")
    if (card.head == "linear") != (injection.head is not None):
        has = "no linear head" if injection.head is None else "a linear head"
        raise PackError(f"The card of '{name}' says head '{card.head}', and the pack has {has}")
    if injection.head is not None and injection.head.weight.shape[:1] != (len(labels),):
        raise PackError(
            f"The head of '{name}' has the shape {list(injection.head.weight.shape)}",
            expected=f"a row for each of its {len(labels)} labels",
        )


RANKS = {"slots": 2, "columns": 4, "layers": 3, "branches": 4, "deltas": 2}
SPECIAL = {"log_scale": 1, "gate": 1, "head.weight": 2, "head.bias": 1}


def _check_ranks(injection: Injection) -> None:
    for name, tensor in injection.tensors().items():
        part = name.partition(".")[0]
        rank = SPECIAL.get(name, SPECIAL.get(name.rpartition(".")[2], RANKS.get(part)))
        if part == "weights" or rank is None:
            continue
        if tensor.dim() != rank:
            _shape(name, tensor, f"{rank} dimensions")
        if tensor.numel() == 0:
            _shape(name, tensor, "no empty dimension")


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
        _shape("slots", injection.slots, f"[P, {d}]")
    _check_sites(injection, backbone)
    for stack, vectors in injection.layers.items():
        layers = backbone.stacks.get(stack)
        if layers is None:
            raise PackError(f"{backbone.name} has no {stack}, which the pack has vectors for")
        if (vectors.shape[0], vectors.shape[2]) != (layers, d):
            _shape(f"layers.{stack}", vectors, f"[{layers}, P, {d}]")
    known = linears(backbone)
    for name, delta in injection.deltas.items():
        if name not in known:
            raise PackError(
                f"The pack changes the linear map '{name}', which {backbone.name} does not have "
                "or does not let prompts change",
                do=RESTORE,
            )
        rows, columns = known[name].out_features, known[name].in_features
        rank = delta.down.shape[0]
        if tuple(delta.down.shape) != (rank, columns):
            _shape(f"deltas.{name}.down", delta.down, f"[r, {columns}]")
        if tuple(delta.up.shape) != (rows, rank):
            _shape(f"deltas.{name}.up", delta.up, f"[{rows}, {rank}]")
    if injection.head is not None:
        labels = injection.head.weight.shape[0]
        if injection.head.weight.shape[1] != d:
            _shape("head.weight", injection.head.weight, f"[{labels}, {d}]")
        if tuple(injection.head.bias.shape) != (labels,):
            _shape("head.bias", injection.head.bias, f"[{labels}]")
    if injection.weights:
        state = backbone.state_dict()
        for name, tensor in injection.weights.items():
            if name not in state:
                raise PackError(f"The pack holds the weight '{name}', which {backbone.name} lacks")
            if tensor.shape != state[name].shape:
                _shape(f"weights.{name}", tensor, str(list(state[name].shape)))


def linears(backbone: Backbone) -> dict[str, nn.Linear]:
    """The linear maps that read a prompt's deltas: all but T5's head, which no row changes."""
    return {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and not (backbone.family == "t5" and name == "lm_head")
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
                _shape(f"columns.{site}.log_scale", scale, f"[{length}]")
            if columns.value.shape[2] != length:
                _shape(f"columns.{site}.value", columns.value, f"{length} columns, as the keys")
        if branch is not None:
            parts |= {f"branches.{site}.key": branch.key, f"branches.{site}.value": branch.value}
            if tuple(branch.gate.shape) != (shape.layers,):
                _shape(f"branches.{site}.gate", branch.gate, f"[{shape.layers}]")
            if branch.value.shape[2] != branch.key.shape[2]:
                _shape(f"branches.{site}.value", branch.value, "as many columns as the keys")
        wanted = (shape.layers, shape.heads, shape.head_dim)
        for name, tensor in parts.items():
            if (*tensor.shape[:2], tensor.shape[3]) != wanted:
                _shape(name, tensor, f"[{shape.layers}, {shape.heads}, P, {shape.head_dim}]")


def _shape(name: str, tensor: Tensor, expected: str) -> None:
    raise PackError(
        f"The pack's tensor '{name}' has the shape {list(tensor.shape)}",
        expected=expected,
        do=RESTORE,
    )


def _short(value: str) -> str:
    return f"hash {value[:12]}" if value else "without a hash"
