"""Engines by backbone: loaded when asked for, least recently used out under a memory cap.

A backbone or a version of a pack that requests use is never taken away from under them: both count
their users. Everything here runs on the event loop but the loading itself, which has a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codeprompt.service.entry import Entry
from codeprompt.service.loading import (
    bytes_of,
    folder_for,
    make_engine,
    read_pack,
    resolved,
    settle,
)
from codeprompt.service.settings import MIB, Settings

if TYPE_CHECKING:
    from codeprompt.engine import Engine
    from codeprompt.pack import Pack

Key = TypeVar("Key")
PACKS, VERSIONS = 64, 2
"""Packs that an engine keeps while nobody uses them: in all, and of one name."""


@dataclass(eq=False)
class Held:
    """A version of a pack in an engine. users: requests that need it. used: when the last ended."""

    entry: Entry
    pack: Pack
    users: int = 0
    used: float = 0.0


@dataclass(eq=False)
class Slot:
    """A loaded backbone. users: requests that need it. used: when the last one ended."""

    folder: Path
    engine: Engine
    users: int = 0
    used: float = 0.0
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Of the backbone."""
        return self.engine.backbone.hash


@dataclass(frozen=True)
class Bound:
    """A version of a pack that stays loaded for as long as it is bound."""

    engine: Engine
    entry: Entry
    pack: Pack

    @property
    def label(self) -> str:
        """Its name in the engine."""
        return self.entry.label


class Engines:
    """All loaded backbones.

    place: the folder of a version of a pack. tell: called with (event, name of the backbone).
    """

    def __init__(
        self,
        settings: Settings,
        place: Callable[[Entry], Path],
        tell: Callable[[str, str], None] = lambda event, name: None,
    ) -> None:
        self.settings, self.place, self.tell = settings, place, tell
        self.slots: dict[Path, Slot] = {}
        self._loading: dict[Path, asyncio.Task[None]] = {}
        self._packs: dict[tuple[Path, str], asyncio.Task[Held]] = {}
        self._one = asyncio.Lock()
        self.tokens = 0  # written by engines that are gone

    def hashes(self) -> set[str]:
        """Of the backbones that are loaded."""
        return {slot.hash for slot in self.slots.values()}

    def memory(self) -> int:
        """Bytes of all loaded backbones with their packs."""
        return sum(slot.engine.memory() for slot in self.slots.values())

    @asynccontextmanager
    async def bound(self, entry: Entry) -> AsyncIterator[Bound]:
        """The pack on its backbone, loaded where needed, and kept until the block ends.

        Raises `BackboneError`, `PackError`.
        """
        async with self.using(await self._folder(entry)) as slot:
            held = await self._pack(slot, entry)
            held.users += 1
            try:
                yield Bound(slot.engine, held.entry, held.pack)
            finally:
                held.users -= 1
                held.used = time.monotonic()
                _forget(slot)

    @asynccontextmanager
    async def using(self, folder: Path) -> AsyncIterator[Slot]:
        """A backbone, loaded where needed, and kept until the block ends."""
        while (slot := self.slots.get(folder)) is None:
            await self._load(folder)
        slot.users += 1
        try:
            yield slot
        finally:
            slot.users -= 1
            slot.used = time.monotonic()

    async def default(self) -> Path:
        """The folder of the backbone that the service is set up with."""
        return await asyncio.to_thread(resolved, self.settings.backbone, self.settings.allow_hub)

    async def sweep(self, now: float | None = None) -> int:
        """Unload what nobody has used for long, and what is over the cap; how many went."""
        now = time.monotonic() if now is None else now
        idle = self.settings.idle_unload_s
        old = [f for f, s in self.slots.items() if not s.users and now - s.used >= idle]
        for folder in old:
            await self._unload(folder)
        return len(old) + await self._make_room(0)

    async def close(self) -> None:
        """Answer what waits in the engines, then unload them all."""
        for task in [*self._loading.values(), *self._packs.values()]:
            await asyncio.wait([task])
        for folder in list(self.slots):
            await self._unload(folder)

    async def _folder(self, entry: Entry) -> Path:
        for slot in self.slots.values():
            if slot.hash == entry.backbone_hash:
                return slot.folder
        return await asyncio.to_thread(folder_for, entry, self.settings)

    async def _load(self, folder: Path) -> None:
        """A load is shared by all who wait for it, and goes on where they give up."""
        task = self._loading.get(folder)
        if task is None:
            task = self._loading[folder] = asyncio.create_task(self._fresh(folder))
            task.add_done_callback(partial(_settled, self._loading, folder))
        await asyncio.shield(task)

    async def _fresh(self, folder: Path) -> None:
        async with self._one:  # one at a time: the room is counted before
            await self._make_room(
                await asyncio.to_thread(bytes_of, folder, self.settings.precision)
            )
            self.tell("backbone loading", folder.name)
            engine = await asyncio.to_thread(make_engine, folder, self.settings)
            self.slots[folder] = Slot(folder, engine, used=time.monotonic())
            self.tell("backbone loaded", folder.name)
            await self._make_room(0, folder)

    async def _pack(self, slot: Slot, entry: Entry) -> Held:
        held = slot.held.get(entry.label)
        while held is None or slot.held.get(held.entry.label) is not held:
            key = (slot.folder, entry.label)
            task = self._packs.get(key)
            if task is None:
                task = self._packs[key] = asyncio.create_task(self._load_pack(slot, entry))
                task.add_done_callback(partial(_settled, self._packs, key))
            held = await asyncio.shield(task)
        return held

    async def _load_pack(self, slot: Slot, entry: Entry) -> Held:
        slot.users += 1
        try:
            found = await asyncio.to_thread(
                lambda: read_pack(slot.engine, entry, self.place(entry))
            )
        finally:
            slot.users -= 1
        held = Held(*found, used=time.monotonic())
        held = slot.held.setdefault(held.entry.label, held)
        _forget(slot)
        return held

    async def _make_room(self, needed: int, keep: Path | None = None) -> int:
        """Unload what is used least until `needed` bytes fit; how many went."""
        count = 0
        while self.memory() + needed > self.settings.memory_mb * MIB:
            idle = {s.used: f for f, s in self.slots.items() if not s.users and f != keep}
            if not idle or (not needed and len(self.slots) == 1):
                break  # all are in use; or one alone is over the cap, and still answers
            await self._unload(idle[min(idle)])
            count += 1
        return count

    async def _unload(self, folder: Path) -> None:
        slot = self.slots.pop(folder, None)
        if slot is None:
            return
        await asyncio.to_thread(slot.engine.close)
        self.tokens += slot.engine.stats()["tokens"]
        del slot  # nobody else has it, so that its memory goes now
        await asyncio.to_thread(settle)
        self.tell("backbone unloaded", folder.name)


def _forget(slot: Slot) -> None:
    """Idle packs go, least recently used first, past so many in all and versions of a name."""
    idle = sorted((h for h in slot.held.values() if not h.users), key=lambda h: -h.used)
    versions: Counter[tuple[str, str]] = Counter()
    for number, held in enumerate(idle):
        name = (held.entry.where, held.entry.name)
        versions[name] += 1
        if number >= PACKS or versions[name] > VERSIONS:
            del slot.held[held.entry.label]
            slot.engine.unload(held.entry.label)


def _settled(tasks: dict[Key, asyncio.Task[Any]], key: Key, task: asyncio.Task[Any]) -> None:
    tasks.pop(key, None)
    if not task.cancelled():
        task.exception()  # whoever waits gets it; where nobody does, it is not reported as lost
