"""Packs made, and from and to disk: `prompt.safetensors` and `card.json`, never a pickle."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

import codeprompt
from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import Injection
from codeprompt.pack import card as cards
from codeprompt.pack.card import MAX_BYTES, SCHEMA, Card
from codeprompt.pack.fit import check_backbone
from codeprompt.pack.folder import TENSORS, check_target, identity, member, replace, restore
from codeprompt.pack.lookup import CARD, find
from codeprompt.pack.packed import Pack
from codeprompt.pack.parts import check_parts
from codeprompt.template import Template
from codeprompt.verbalizers import Verbalizer

MAX_PROMPT = 1 << 30
"""Bytes of a prompt's tensors; a pack that holds weights may have more."""
MAX_WEIGHTS = 1 << 36
READS = 5


def make_pack(
    *,
    injection: Injection,
    backbone: Backbone,
    name: str,
    task: str,
    method: str,
    template: Template | str,
    source_length: int,
    target_length: int,
    settings: Mapping[str, Any] | None = None,
    verbalizer: Verbalizer | None = None,
    prior: Sequence[float] | None = None,
    head: str = "verbalizer",
    labels: Sequence[str] = (),
    positive: str | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    dev_scores: Sequence[Mapping[str, Any]] = (),
    scores: Sequence[Mapping[str, Any]] = (),
    threshold: float | None = None,
    base_rate: float | None = None,
    decoding: Mapping[str, Any] | None = None,
    parameters: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    licence: Mapping[str, str] | None = None,
    created: str | None = None,
) -> Pack:
    """A sealed pack of what `PromptModule.export` gave.

    name: any text; the card gets it as a pack's name. template: resolved. data, dev_scores, scores,
    licence: the fields of the structs in `codeprompt.pack.card`. parameters: how many were trained,
    by default all that the injection has. created: UTC date, by default today's.

    Raises `PackError` where the parts do not belong together.
    """
    values = {
        "schema": SCHEMA,
        "name": cards.safe_name(name),
        "task": task,
        "method": method,
        "settings": settings or {},
        "template": str(template),
        "verbalizer": None if verbalizer is None else verbalizer.as_dict(),
        "prior": prior,
        "head": head,
        "labels": labels or (verbalizer.labels if verbalizer else ()),
        "positive": positive,
        "backbone": {
            "name": backbone.name,
            "hash": backbone.hash,
            "family": backbone.family,
            "d_model": backbone.d_model,
            "tokenizer": backbone.tokenizer.hash,
        },
        "data": data or {},
        "seed": seed,
        "seeds": [seed] if seeds is None else seeds,
        "dev_scores": dev_scores,
        "scores": scores,
        "threshold": threshold,
        "base_rate": base_rate,
        "decoding": decoding or {},
        "source_length": source_length,
        "target_length": target_length,
        "conventions": {site: c.convention for site, c in injection.columns.items()},
        "holds": "weights" if injection.weights else "prompt",
        "parameters": sum(t.numel() for t in injection.tensors().values())
        if parameters is None
        else parameters,
        "recipe": recipe or {},
        "versions": {
            "codeprompt": codeprompt.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "created": created or datetime.now(UTC).date().isoformat(),
        "licence": licence or {},
    }
    pack = seal(cards.from_values(values), injection)
    check_backbone(pack, backbone)
    return pack


def seal(card: Card, injection: Injection) -> Pack:
    """A pack whose card carries the hash over both. Raises `PackError` where they disagree."""
    own = {  # copies: what goes on training must not change a pack, and no two may share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in injection.tensors().items()
    }
    injection = Injection.from_tensors(own, injection.conventions())
    check_parts(card, injection)
    found = cards.digest(card, _tensor_bytes(injection))
    return Pack(msgspec.structs.replace(card, integrity=found), injection)


def with_card(pack: Pack, **changes: Any) -> Pack:
    """The same tensors with some fields of the card changed, sealed anew; `path` is dropped."""
    return seal(cards.with_values(pack.card, **changes), pack.injection)


def save(pack: Pack, folder: str | Path) -> Path:
    """Write a pack, in place of one that is there; returns its full path.

    Raises `PackError` where the folder is not a pack's, `CodepromptError` where the disk is full
    or the place cannot be written; what was there before stays as it was.
    """
    from safetensors.torch import save as to_bytes

    files = {TENSORS: to_bytes(pack.injection.tensors()), CARD: cards.encode(pack.card)}
    return replace(Path(folder), files)


def load(path_or_name: str | Path, *, verify: bool = True) -> Pack:
    """Read a pack by path or name (see `lookup.find`).

    verify: compare the hash over card and tensors; types, names and shapes are checked always.
    Raises `PackError` with the reason where anything is missing, cut, changed or unsafe.
    """
    folder = find(path_or_name)
    for _ in range(READS):
        restore(folder)
        before = identity(folder)
        try:
            return _read(folder, verify)
        except PackError:
            if before is not None and identity(folder) == before:
                raise  # else it was replaced while we read it
    raise PackError(f"{folder} changes while it is read", do="Try again when nobody writes it")


def _read(folder: Path, verify: bool) -> Pack:
    try:
        text = member(folder, CARD, MAX_BYTES).read_bytes()
    except OSError as error:
        raise PackError(f"{folder / CARD} cannot be read: {error.strerror}") from error
    card = cards.decode(text, str(folder / CARD))
    limit = MAX_WEIGHTS if card.holds == "weights" else MAX_PROMPT
    tensors = read_tensors(member(folder, TENSORS, limit))
    past = {site: "past" for site, c in card.conventions.items() if c == "past"}
    injection = Injection.from_tensors(tensors, past)  # type: ignore[arg-type]
    if verify and cards.digest(card, _tensor_bytes(injection)) != card.integrity:
        raise PackError(
            f"{folder} was changed after it was written: its card and tensors do not give the "
            "hash on the card",
            do="Restore the pack from where it came from, or tune it again",
        )
    check_parts(card, injection)
    return Pack(card, injection, folder)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as copies. Raises `PackError` where it is cut or odd."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # Copies, for the file is mapped: one that is cut later must not take the process with it.
        tensors = {name: t.clone() for name, t in load_file(path).items()}
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise PackError(
            f"{path} cannot be read: it is cut or no safetensors file ({error})",
            do="Restore it or tune it again",
        ) from error
    odd = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if odd:
        raise PackError(
            f"{path} holds a tensor that is not of floating point: {odd[0]} "
            f"({str(tensors[odd[0]].dtype).removeprefix('torch.')})"
        )
    return tensors


def _tensor_bytes(injection: Injection) -> Iterator[tuple[str, str, Sequence[int], memoryview]]:
    for name, tensor in injection.tensors().items():
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        dtype = str(tensor.dtype).removeprefix("torch.")
        yield name, dtype, list(tensor.shape), flat.numpy().data


__all__ = ["Pack", "check_target", "load", "make_pack", "read_tensors", "save", "seal", "with_card"]
