"""A version of a pack that can answer, and packs as `GET /v1/packs` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeprompt.languages.base import speaks
from codeprompt.pack.card import Card
from codeprompt.service.packs import DIGITS, PackInfo, Version

OWN, PROJECT = "service", "project"
Spoken = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Entry:
    """A version of a pack that can answer. where: `service`, `project`, `user` or `package`.

    languages, targets: of what it was tuned on, where its card says so.
    """

    name: str
    version: str
    task: str
    backbone: str
    backbone_hash: str
    hash: str
    created: str
    where: str
    place: Path | None = None
    added: float = 0.0
    languages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What an engine calls it: no two versions share it."""
        return f"{self.name}@{self.version}"

    def speaks(self, language: str, target: str) -> bool:
        """Whether its card has nothing against a language, and one to write; "" is any."""
        return speaks(language, self.languages) and speaks(target, self.targets)


def active(pack: PackInfo) -> Version | None:
    """The version that answers."""
    return next((v for v in pack.versions if v.version == pack.active), None)


def of_version(pack: PackInfo, v: Version, spoken: Spoken = ((), ())) -> Entry:
    """A version of the service's own."""
    return Entry(
        pack.name, v.version, pack.task, v.backbone, v.backbone_hash, v.hash, v.created, OWN,
        added=v.added, languages=spoken[0], targets=spoken[1],
    )  # fmt: skip


def spoken_by(card: Card) -> Spoken:
    """The languages of the code that a pack was tuned on, and of what it writes."""
    return card.data.spoken


def of_card(name: str, card: Card, where: str, place: Path) -> Entry:
    """A pack in a folder."""
    about = card.backbone
    version = card.integrity[:DIGITS]
    languages, targets = spoken_by(card)
    return Entry(
        name, version, card.task, about.name, about.hash, card.integrity, card.created, where,
        place, languages=languages, targets=targets,
    )  # fmt: skip


def own_as_json(pack: PackInfo) -> dict[str, Any]:
    """A pack with versions. version: the one described: the active, else the newest."""
    shown = active(pack) or pack.versions[0]
    return {
        "name": pack.name,
        "task": pack.task,
        "version": shown.version,
        "active": pack.active,
        "backbone": shown.backbone,
        "hash": shown.hash,
        "created": shown.created,
        "where": OWN,
        "versions": [
            {
                "version": v.version,
                "hash": v.hash,
                "method": v.method,
                "backbone": v.backbone,
                "created": v.created,
                "bytes": v.bytes,
                "source": v.source,
                "retired": v.retired,
            }
            for v in pack.versions
        ],
    }


def folder_as_json(entry: Entry) -> dict[str, Any]:
    """A pack of a folder: what is there is active."""
    told = {f: getattr(entry, f) for f in ("name", "task", "version", "backbone", "hash")}
    return {
        **told,
        "active": entry.version,
        "created": entry.created,
        "where": entry.where,
        "versions": [],
    }
