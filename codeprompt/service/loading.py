"""What engines load, and from where: the slow steps, each for a thread."""

from __future__ import annotations

import gc
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt.errors import BackboneError
from codeprompt.service.entry import Entry
from codeprompt.service.settings import Settings

if TYPE_CHECKING:
    from codeprompt.engine import Engine
    from codeprompt.engine.precision import Precision
    from codeprompt.pack import Pack

PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
"""oneDNN keeps a product's code and scratch for every number of rows it has met, 1024 of them by
default: hundreds of MB where batches come in all sizes. Making one anew costs little.
"""
BYTES = {"float32": 4, "bf16": 2, "int8": 1}


def make_engine(folder: Path, settings: Settings) -> Engine:
    """An engine on the backbone in a folder. Raises `BackboneError`."""
    os.environ.setdefault(*PRIMITIVES)
    from codeprompt.backbones.threads import FOUND
    from codeprompt.engine import Engine

    return Engine(
        str(folder),
        precision=settings.precision,
        threads=settings.threads or FOUND,
        allow_hub=settings.allow_hub,
        waiting=settings.waiting,
    )


def settle() -> None:
    """Collect what a backbone that came or went left, and look at the rest no more.

    Torch alone is a million objects, and all threads stand still while a collection looks at them.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def read_pack(engine: Engine, entry: Entry, folder: Path) -> tuple[Entry, Pack]:
    """Load a pack into an engine; what was found there. Raises `PackError`."""
    from codeprompt.backbones.threads import computing_on
    from codeprompt.pack import load
    from codeprompt.service.packs import DIGITS

    with computing_on(1):
        pack = load(folder)
    found = pack.card.integrity
    if found != entry.hash:  # a folder that was written since we looked
        entry = replace(entry, hash=found, version=found[:DIGITS])
    engine.load(pack, entry.label)
    return entry, pack


def resolved(name: str, allow_hub: bool) -> Path:
    """The folder that a backbone's name stands for. Raises `BackboneError`."""
    from codeprompt.backbones.checkpoint import resolve

    return resolve(name, allow_hub=allow_hub).resolve()


def folder_for(entry: Entry, settings: Settings) -> Path:
    """Where the very backbone of a pack lies: by its card, or where the service is told one lies.

    Raises `BackboneError`.
    """
    from codeprompt.backbones.checkpoint import hash_folder

    reasons = []
    for name in dict.fromkeys((entry.backbone, settings.backbone)):
        try:
            folder = resolved(name, settings.allow_hub)
            if hash_folder(folder) == entry.backbone_hash:
                return folder
            reasons.append(f"{name} is another")
        except BackboneError as error:
            reasons.append(error.found)
    raise BackboneError(
        f"'{entry.name}' was made for {entry.backbone} (hash {entry.backbone_hash[:12]}), which "
        f"is not here: {'; '.join(reasons)}",
        do="Start the service with --backbone and the folder where it lies now",
    )


def bytes_of(folder: Path, precision: Precision) -> int:
    """What a backbone will take, about: its numbers, in the format that is served."""
    from safetensors import safe_open
    from torch import device

    from codeprompt.engine.precision import choose

    numbers = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            numbers += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    return numbers * BYTES[choose(precision, device("cpu"))]
