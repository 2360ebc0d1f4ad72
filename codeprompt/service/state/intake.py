"""What a pack's files go through before they are kept: looked at, named, synced, renamed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from codeprompt.errors import PackError
from codeprompt.files import sync_folder
from codeprompt.pack.card import NAME, Card
from codeprompt.service.state.models import VersionRow

CARD, TENSORS = "card.json", "prompt.safetensors"
MOST = {
    "source_length": 1 << 15,
    "target_length": 1 << 12,
    "max_new_tokens": 1 << 12,
    "beams": 64,
    "candidates": 64,
}
"""What one answer may cost: a card from elsewhere must not be able to hold the engine up."""


def checked(folder: Path) -> Card:
    """The card of a pack whose every part was looked at. Raises `PackError`.

    Sizes, nesting, types, names, shapes and values of card and tensors, the hash over both, the
    template, the label words, the decoding, the task; whether it fits a backbone is for the engine.
    """
    from codeprompt.backbones.decoding import Decoding
    from codeprompt.pack import load
    from codeprompt.registry import TASKS

    try:
        pack = load(folder)
    except PackError as error:  # where we put the files is nothing to whoever sent them
        told, do = (text.replace(f"{folder}{os.sep}", "") for text in (error.found, error.do))
        raise PackError(told, expected=error.expected, do=do) from None
    card, kind = pack.card, TASKS.get(pack.card.task).kind
    if not card.integrity:
        raise PackError("The card carries no hash", do="Save the pack again with codeprompt")
    if (kind != "generate") != bool(card.labels):
        raise PackError(
            f"The card is for '{card.task}' and has {len(card.labels)} labels",
            expected="labels where the task chooses, and none where it writes",
        )
    decoding = Decoding.from_json(card.decoding)
    found = {**{name: getattr(card, name) for name in MOST if hasattr(card, name)}}
    found |= {name: getattr(decoding, name) for name in MOST if hasattr(decoding, name)}
    for name, value in found.items():
        if value > MOST[name]:
            raise PackError(f"The card says {name} = {value:,}", expected=f"at most {MOST[name]:,}")
    return card


def name_of(card: Card, name: str | None) -> str:
    """The name a pack is kept under. Raises `PackError` where it might be more than a name."""
    name = card.name if name is None else name
    if not NAME.fullmatch(name):
        raise PackError(
            "The name of the pack cannot be used",
            expected="letters, digits, '.', '_' and '-', a letter or digit first, at most 100",
        )
    return name


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def put(folder: Path, place: Path) -> None:
    """Rename a synced folder into place; what a crash left there goes."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(place, ignore_errors=True)
    os.rename(folder, place)
    sync_folder(place.parent)
    sync_folder(place.parent.parent)


def row_of(name: str, version: str, card: Card, size: int, source: str) -> VersionRow:
    """A new version's row."""
    return VersionRow(
        name=name,
        version=version,
        hash=card.integrity,
        method=card.method,
        backbone=card.backbone.name,
        backbone_hash=card.backbone.hash,
        created=card.created,
        added=time.time(),
        bytes=size,
        source=source,
        retired=False,
    )
