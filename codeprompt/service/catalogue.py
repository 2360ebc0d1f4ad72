"""Which packs there are: the service's own versions, and those in the folders that names find.

Both are looked at again when a request comes and the last look is a moment old, so a pack that
`codeprompt tune` has just written answers. (Not at every request: each look is a dozen calls of the
system, and after each a busy engine's thread may have the interpreter first.)
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeprompt.errors import PackError
from codeprompt.pack.card import MAX_BYTES, NAME, Card, decode
from codeprompt.pack.folder import member
from codeprompt.pack.lookup import CARD, available
from codeprompt.service.packs import DIGITS, PackInfo, Packs, Version
from codeprompt.service.problems import unknown_pack

OWN = "service"
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Entry:
    """A version of a pack that can answer. where: `service`, `project`, `user` or `package`."""

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

    @property
    def label(self) -> str:
        """What an engine calls it: no two versions share it."""
        return f"{self.name}@{self.version}"


class Catalogue:
    """Packs of the database before those of folders; any thread may call any method."""

    def __init__(self, packs: Packs, look_seconds: float = LOOK_SECONDS) -> None:
        self.packs, self.look_seconds = packs, look_seconds
        self._lock = threading.Lock()
        self._looked = -math.inf
        self._seen: tuple[object, ...] = ()
        self._own: list[PackInfo] = []
        self._folders: list[Entry] = []
        self._cards: dict[Path, tuple[tuple[int, ...], Card]] = {}

    def changed(self) -> None:
        """Look again at the next request."""
        self._looked = -math.inf

    def own(self) -> list[PackInfo]:
        """The service's own packs."""
        self._look()
        return self._own

    def folders(self) -> list[Entry]:
        """Packs in folders; one whose card cannot be read is passed over."""
        self._look()
        return self._folders

    def entries(self) -> list[Entry]:
        """What answers for each name; the service's own packs hide those in folders."""
        own = [_of_version(pack, v) for pack in self.own() if (v := _active(pack)) is not None]
        taken = {pack.name for pack in self._own}
        return own + [entry for entry in self._folders if entry.name not in taken]

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked < self.look_seconds:
                return
            self._looked = now
            seen = (self.packs.store.changes(),)
            if seen != self._seen:
                # Counted before the reading: what changes meanwhile is read next time.
                self._own, self._seen = self.packs.list(), seen
            found = ((name, self._card(path), where, path) for name, path, where in available())
            self._folders = [_of_card(n, c, where, p) for n, c, where, p in found if c is not None]

    def choose(self, task: str, wanted: str | None, loaded: Collection[str]) -> Entry:
        """The pack that answers for a task.

        wanted: NAME, NAME@VERSION, or None: an active pack of the task whose backbone is loaded,
        else the newest. loaded: hashes of backbones. Raises `Problem` (404), `UsageError`.
        """
        if wanted is not None:
            return self._named(wanted)
        mine = [entry for entry in self.entries() if entry.task == task]
        if not mine:
            raise unknown_pack(
                f"There is no pack for the task '{task}'",
                do=f"Tune one (codeprompt tune {task}) or upload one (POST /v1/packs)",
            )
        ready = [e for e in mine if e.where == OWN and e.backbone_hash in loaded]
        return max(ready or mine, key=lambda e: (e.created, e.added, e.where == OWN))

    def _named(self, wanted: str) -> Entry:
        name, at, version = wanted.partition("@")
        if NAME.fullmatch(name) is None:
            raise unknown_pack("A pack is asked for by what is no name", do="See GET /v1/packs")
        for pack in self.own():
            if pack.name == name:
                picked = [v for v in pack.versions if v.version == version] if at else []
                chosen = picked[0] if picked else (None if at else _active(pack))
                if chosen is not None:
                    return _of_version(pack, chosen)
                raise unknown_pack(
                    f"'{name}' has no version '{version}'" if at else f"'{name}' is retired",
                    do=f"See GET /v1/packs/{name}, and activate a version",
                )
        for entry in self.folders():
            if entry.name == name and version in ("", entry.version):
                return entry
        raise unknown_pack(f"No pack is called '{wanted}' here", do="GET /v1/packs lists them")

    def place(self, entry: Entry) -> Path:
        """The folder of a version."""
        return entry.place or self.packs.get(entry.name, entry.version)

    def listed(self) -> list[dict[str, Any]]:
        """Every pack as `GET /v1/packs` shows it."""
        own = [own_as_json(pack) for pack in self.own()]
        taken = {pack.name for pack in self.own()}
        return own + [folder_as_json(e) for e in self.folders() if e.name not in taken]

    def shown(self, name: str) -> dict[str, Any]:
        """One of them. Raises `Problem` (404)."""
        for pack in self.listed():
            if pack["name"] == name:
                return pack
        raise unknown_pack(f"No pack is called '{name}' here", do="GET /v1/packs lists them")

    def _card(self, place: Path) -> Card | None:
        stamp = _stamp(place / CARD)
        known = self._cards.get(place)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            card = decode(member(place, CARD, MAX_BYTES).read_bytes(), str(place / CARD))
        except (PackError, OSError):  # perhaps just being replaced: what was there answers on
            return known[1] if known else None
        self._cards[place] = (stamp, card)
        return card


def own_as_json(pack: PackInfo) -> dict[str, Any]:
    """A pack with versions. version: the one described: the active, else the newest."""
    shown = _active(pack) or pack.versions[0]
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


def _active(pack: PackInfo) -> Version | None:
    return next((v for v in pack.versions if v.version == pack.active), None)


def _of_version(pack: PackInfo, v: Version) -> Entry:
    return Entry(
        pack.name, v.version, pack.task, v.backbone, v.backbone_hash, v.hash, v.created, OWN,
        added=v.added,
    )  # fmt: skip


def _of_card(name: str, card: Card, where: str, place: Path) -> Entry:
    about = card.backbone
    version = card.integrity[:DIGITS]
    return Entry(
        name, version, card.task, about.name, about.hash, card.integrity, card.created, where, place
    )


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        about = os.stat(path)
    except OSError:
        return ()
    return about.st_ino, about.st_size, about.st_mtime_ns


__all__ = ["Catalogue", "Entry"]
