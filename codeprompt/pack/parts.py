"""Whether the parts of a pack belong together, whatever the backbone."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from codeprompt.errors import PackError, TemplateError, UsageError
from codeprompt.inject import Injection
from codeprompt.inject.delta import RANKS as DELTA
from codeprompt.pack.card import Card
from codeprompt.template import Template, parse, slot_indices
from codeprompt.verbalizers import Verbalizer

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


RANKS = {"slots": 2, "columns": 4, "layers": 3, "branches": 4, "added": 2}
SPECIAL = {"log_scale": 1, "gate": 1, "head.weight": 2, "head.bias": 1}
LATE = {"layer": 1, "vectors": 2, "down": 2, "up": 2}
GATE = {"sources": 3, "down": 2, "up": 2, "weight": 1, "bias": 1, "keys": 2, "target": 2, "top": 1}


def _check_ranks(injection: Injection) -> None:
    for name, tensor in injection.tensors().items():
        part = name.partition(".")[0]
        table = {"gates": GATE, "late": LATE, "deltas": DELTA}.get(part, {})
        rank = table.get(name.rpartition(".")[2]) or SPECIAL.get(
            name, SPECIAL.get(name.rpartition(".")[2], RANKS.get(part))
        )
        if part == "weights" or rank is None:
            continue
        if tensor.dim() != rank:
            wrong_shape(name, tensor, f"{rank} dimensions")
        if tensor.numel() == 0:
            wrong_shape(name, tensor, "no empty dimension")


def wrong_shape(name: str, tensor: Tensor, expected: str) -> NoReturn:
    """Raises `PackError`: found, expected."""
    raise PackError(
        f"The pack's tensor '{name}' has the shape {list(tensor.shape)}",
        expected=expected,
        do=RESTORE,
    )
