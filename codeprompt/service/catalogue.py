"""Which packs there are: the service's own versions, and those in the folders that names find.

Both are looked at again when a request comes and the last look is a moment old, so a pack that
`codeprompt tune` has just written answers.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from codeprompt.errors import CodepromptError, PackError
from codeprompt.pack.card import MAX_BYTES, NAME, Card, decode
from codeprompt.pack.folder import member
from codeprompt.pack.lookup import CARD
from codeprompt.service.entry import (
    OWN,
    PROJECT,
    Entry,
    Spoken,
    active,
    folder_as_json,
    of_version,
    own_as_json,
    spoken_by,
)
from codeprompt.service.folders import Folders
from codeprompt.service.packs import PackInfo, Packs
from codeprompt.service.problems import unknown_pack


class Catalogue:
    """A project's packs before the service's own, those before the others in folders.

    Any thread may call any method. project: the folder that a request belongs to; without one, no
    project's packs are there.
    """

    def __init__(self, packs: Packs) -> None:
        self.packs, self.in_folders = packs, Folders()
        self._lock = threading.Lock()
        self._seen, self._outdated = -1, True
        self._own: list[PackInfo] = []
        self._spoken: dict[tuple[str, str], Spoken] = {}

    def changed(self) -> None:
        """Look again at the next request."""
        self._outdated = True
        self.in_folders.changed()

    def stale(self, project: Path | None = None) -> bool:
        """Whether the next look takes a while: then it is for a thread."""
        return self._outdated or self.in_folders.stale(project)

    def look(self, project: Path | None = None) -> None:
        """Look again where the last look is a moment old."""
        if self.stale(project):
            with self._lock:
                outdated, self._outdated = self._outdated, False
                seen = self.packs.store.changes()
                if outdated or seen != self._seen:
                    # Counted before the reading: what changes meanwhile is read next time.
                    own = self.packs.list()
                    self._spoken = {
                        (pack.name, v.version): self._languages(pack.name, v.version)
                        for pack in own
                        if (v := active(pack)) is not None
                    }
                    self._own, self._seen = own, seen
            self.in_folders.entries(project)

    def entries(self, project: Path | None = None) -> list[Entry]:
        """What answers for each name; the nearer hides the others."""
        self.look(project)
        own = [
            of_version(pack, v, self._spoken.get((pack.name, v.version), ((), ())))
            for pack in self._own
            if (v := active(pack)) is not None
        ]
        taken = {pack.name for pack in self._own}
        found = self.in_folders.entries(project)
        near = [entry for entry in found if entry.where == PROJECT]
        hidden = {entry.name for entry in near}
        own = [entry for entry in own if entry.name not in hidden]
        far = [e for e in found if e.where != PROJECT and e.name not in taken]
        return near + own + far

    def choose(
        self,
        task: str,
        wanted: str | None,
        loaded: Collection[str],
        project: Path | None = None,
        languages: tuple[str, str] = ("", ""),
    ) -> Entry:
        """The pack that answers for a task.

        wanted: NAME, NAME@VERSION, or None: the newest of the project's own for the task; else an
        active pack of it whose backbone is loaded; else the newest of all. loaded: hashes of
        backbones. languages: of the code, and to write; a pack whose card names others comes last,
        and is not taken to write another language than it was tuned to.
        Raises `Problem` (404), `UsageError`.
        """
        if wanted is not None:
            return self._named(wanted, project)
        mine = [entry for entry in self.entries(project) if entry.task == task]
        if not mine:
            raise unknown_pack(
                f"There is no pack for the task '{task}'",
                do=f"Tune one (codeprompt tune {task}) or upload one (POST /v1/packs)",
            )
        fit = [entry for entry in mine if entry.speaks(*languages)]
        if not fit and languages[1]:
            known = {f"{a} to {b}" for e in mine for a in e.languages for b in e.targets}
            raise unknown_pack(
                f"No pack for the task '{task}' goes from {languages[0] or 'this language'} to "
                f"{languages[1]}; there are: {', '.join(sorted(known))}",
                do=f"Tune one (codeprompt tune {task}), or name a pack",
            )
        mine = fit or mine
        near = [e for e in mine if e.where == PROJECT]
        ready = [e for e in mine if e.where == OWN and e.backbone_hash in loaded]
        return max(near or ready or mine, key=lambda e: (e.created, e.added, e.where == OWN))

    def _named(self, wanted: str, project: Path | None) -> Entry:
        name, at, version = wanted.partition("@")
        if NAME.fullmatch(name) is None:
            raise unknown_pack("A pack is asked for by what is no name", do="See GET /v1/packs")
        self.look(project)
        found = [e for e in self.in_folders.entries(project) if e.name == name]
        fits = [e for e in found if version in ("", e.version)]
        if fits and fits[0].where == PROJECT:
            return fits[0]
        for pack in self._own:
            if pack.name == name:
                picked = [v for v in pack.versions if v.version == version] if at else []
                chosen = picked[0] if picked else (None if at else active(pack))
                if chosen is not None:
                    return of_version(pack, chosen)
                raise unknown_pack(
                    f"'{name}' has no version '{version}'" if at else f"'{name}' is retired",
                    do=f"See GET /v1/packs/{name}, and activate a version",
                )
        if fits:
            return fits[0]
        raise unknown_pack(f"No pack is called '{wanted}' here", do="GET /v1/packs lists them")

    def place(self, entry: Entry) -> Path:
        """The folder of a version."""
        return entry.place or self.packs.get(entry.name, entry.version)

    def listed(self, project: Path | None = None) -> list[dict[str, Any]]:
        """Every pack as `GET /v1/packs` shows it."""
        self.look(project)
        found = self.in_folders.entries(project)
        near = [entry for entry in found if entry.where == PROJECT]
        hidden = {entry.name for entry in near}
        own = [pack for pack in self._own if pack.name not in hidden]
        taken = {pack.name for pack in self._own}
        far = [e for e in found if e.where != PROJECT and e.name not in taken]
        return [
            *map(folder_as_json, near),
            *map(own_as_json, own),
            *map(folder_as_json, far),
        ]

    def shown(self, name: str, project: Path | None = None) -> dict[str, Any]:
        """One of them, with the card of the version described. Raises `Problem` (404)."""
        for pack in self.listed(project):
            if pack["name"] == name:
                return {**pack, "card": self._card(pack, project)}
        raise unknown_pack(f"No pack is called '{name}' here", do="GET /v1/packs lists them")

    def _card(self, pack: dict[str, Any], project: Path | None) -> dict[str, Any] | None:
        """Its plain values; None where its files were removed."""
        try:
            if pack["where"] == OWN:
                place = self.packs.get(pack["name"], pack["version"])
            else:
                place = self.place(self._named(f"{pack['name']}@{pack['version']}", project))
            plain: dict[str, Any] = msgspec.to_builtins(_read(place))
        except (PackError, OSError):
            return None
        return plain

    def _languages(self, name: str, version: str) -> Spoken:
        """Of a version's card; read once, for a version never changes."""
        known = self._spoken.get((name, version))
        if known is not None:
            return known
        try:
            return spoken_by(_read(self.packs.get(name, version)))
        except (CodepromptError, OSError):
            return (), ()


def _read(place: Path) -> Card:
    """The card in a pack's folder."""
    return decode(member(place, CARD, MAX_BYTES).read_bytes(), str(place / CARD))


__all__ = ["Catalogue", "Entry"]
