"""Packs in folders: those of the project that a request comes from, the user's, the package's.

Only a request can say what project it belongs to: the engine has none of its own, and packs of one
project never answer for another. What a project's packs are worth is for the client to decide
before it names the project.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from codeprompt.errors import PackError, UsageError
from codeprompt.pack.card import MAX_BYTES, NAME, Card, decode
from codeprompt.pack.folder import member
from codeprompt.pack.lookup import CARD, SHIPPED, exists, user_data
from codeprompt.service.entry import PROJECT, Entry, of_card

LOOK_SECONDS = 0.2
PROJECTS = 32
"""Projects that are remembered; those used last."""
Place = tuple[Path, str]
Stamp = tuple[int, ...]


@dataclass
class Seen:
    """What was found for a project (None: for requests without one), and when."""

    at: float = -math.inf
    entries: list[Entry] = field(default_factory=list)
    cards: dict[Path, tuple[Stamp, Card]] = field(default_factory=dict)


class Folders:
    """Looked at again when a request comes and the last look is a moment old; for any thread.

    Not at every request: each look is a dozen calls of the system.
    """

    def __init__(self) -> None:
        self.look_seconds = LOOK_SECONDS
        self._lock = threading.Lock()
        self._seen: OrderedDict[Path | None, Seen] = OrderedDict()

    def changed(self) -> None:
        """Look again at the next request."""
        with self._lock:
            for seen in self._seen.values():
                seen.at = -math.inf

    def stale(self, project: Path | None) -> bool:
        """Whether the next look asks the system."""
        seen = self._seen.get(project)
        return seen is None or time.monotonic() - seen.at >= self.look_seconds

    def entries(self, project: Path | None = None) -> list[Entry]:
        """The packs that a name finds, by name; one whose card cannot be read is passed over."""
        with self._lock:
            seen = self._seen.setdefault(project, Seen())
            self._seen.move_to_end(project)
            while len(self._seen) > PROJECTS:
                self._seen.popitem(last=False)
            now = time.monotonic()
            if now - seen.at >= self.look_seconds:
                seen.at = now
                cards = {
                    path: found for path, _ in _packs(project) if (found := _card(path, seen.cards))
                }
                seen.cards = cards
                seen.entries = [
                    of_card(path.name, cards[path][1], where, path)
                    for path, where in _packs(project)
                    if path in cards
                ]
            return seen.entries


def project_of(given: str | None) -> Path | None:
    """The folder that a request names. Raises `UsageError`."""
    if given is None:
        return None
    path = Path(given)
    if not path.is_absolute() or "\0" in given:
        raise UsageError(
            "`project` is no full path", expected="the project's folder, from the root"
        )
    return path


def project_folders(project: Path) -> list[Path]:
    """The project's folder and its parents up to the git root; without one, the folder alone.

    Never further: a parent that others can write to must not bring packs along.
    """
    upwards = [project, *project.parents]
    for number, folder in enumerate(upwards, 1):
        with suppress(OSError, ValueError):
            if (folder / ".git").exists():
                return upwards[:number]
    return [project]


def _packs(project: Path | None) -> list[Place]:
    """Each pack's folder and where that is; the nearest of each name, by name."""
    places: list[Place] = [(user_data() / "packs", "user"), (SHIPPED, "package")]
    if project is not None:
        near = [(f / ".codeprompt" / "packs", PROJECT) for f in project_folders(project)]
        places = near + places
    found: dict[str, Place] = {}
    for folder, where in places:
        try:
            names = os.listdir(folder)
        except (OSError, ValueError):
            continue
        for name in names:
            if NAME.fullmatch(name) and name not in found and exists(folder / name):
                found[name] = (folder / name, where)
    return [found[name] for name in sorted(found)]


def _card(place: Path, known: dict[Path, tuple[Stamp, Card]]) -> tuple[Stamp, Card] | None:
    stamp, old = _stamp(place / CARD), known.get(place)
    if old is not None and old[0] == stamp:
        return old
    try:
        return stamp, decode(member(place, CARD, MAX_BYTES).read_bytes(), str(place / CARD))
    except (PackError, OSError):  # perhaps just being replaced: what was there answers on
        return old


def _stamp(path: Path) -> Stamp:
    """What changes when a file does."""
    try:
        about = os.stat(path)
    except OSError:
        return ()
    return about.st_ino, about.st_size, about.st_mtime_ns
