"""Packs with versions: files in `packs/NAME/VERSION`, what is true of them in the database.

A version is named by the hash on its card, so adding the same pack twice adds it once, also where
the first time was cut short. Files are written to a temporary folder, checked, synced and renamed;
then the row is committed, and only then is the pack there. Files without a row are what a crash
left, and go when the state is opened.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from codeprompt.errors import PackError, UnknownNameError
from codeprompt.files import sync_folder, write_error
from codeprompt.pack.card import MAX_BYTES, Card
from codeprompt.service.state import ConflictError, Store
from codeprompt.service.state.intake import (
    CARD,
    TENSORS,
    checked,
    name_of,
    put,
    row_of,
    sync_file,
)
from codeprompt.service.state.models import ActivationRow, PackRow, VersionRow

MAX_TENSORS = 1 << 28
"""Bytes of tensors that an upload may bring; a pack that a job tuned here may have more."""
DIGITS = 12
INCOMING = ".incoming"


@dataclass(frozen=True)
class Version:
    """A version of a pack. source: `upload` or `job:ID`. added: seconds since the epoch."""

    version: str
    hash: str
    method: str
    backbone: str
    backbone_hash: str
    created: str
    added: float
    bytes: int
    source: str
    retired: bool


@dataclass(frozen=True)
class PackInfo:
    """A name with its versions, newest first. active: None where none answers."""

    name: str
    task: str
    active: str | None
    versions: tuple[Version, ...]


class Packs:
    """The packs of a `Store`; any thread may call any method, and so may other processes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.folder / "packs"
        try:
            (self.folder / INCOMING).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
        except OSError as error:
            raise write_error(self.folder, error) from error

    def list(self) -> list[PackInfo]:
        """Every pack, by name."""
        with self.store.read() as session:
            rows = session.scalars(select(PackRow).order_by(PackRow.name)).all()
            return [_info(session, row) for row in rows]

    def info(self, name: str) -> PackInfo:
        """One pack. Raises `UnknownNameError`."""
        with self.store.read() as session:
            return _info(session, _pack(session, name))

    def get(self, name: str, version: str | None = None) -> Path:
        """The folder of a version, by default the active one; it is never changed.

        Raises `UnknownNameError`, `ConflictError` where no version is active, `PackError` where
        the files were removed.
        """
        with self.store.read() as session:
            active = _pack(session, name).active
            if version is None and active is None:
                raise ConflictError(
                    f"No version of '{name}' is active", do="Activate one of its versions"
                )
            row = _version(session, name, version or active or "")
            folder = self._place(name, row.version)
        if not (folder / CARD).is_file():
            raise PackError(f"The files of '{name}' in {folder} are gone", do="Upload it again")
        return folder

    def add(
        self,
        card: bytes,
        tensors: bytes,
        name: str | None = None,
        *,
        activate: bool = False,
        source: str = "upload",
    ) -> str:
        """Check a pack, keep it, and give its version. name: by default the card's own.

        Raises `PackError` with the reason where anything about it is not a pack's, or where
        other versions of the name are for another task.
        """
        if len(card) > MAX_BYTES:
            raise PackError(f"The card has {len(card):,} bytes", expected=f"at most {MAX_BYTES:,}")
        if len(tensors) > MAX_TENSORS:
            raise PackError(
                f"The tensors have {len(tensors):,} bytes", expected=f"at most {MAX_TENSORS:,}"
            )

        def fill(folder: Path) -> None:
            (folder / CARD).write_bytes(card)
            (folder / TENSORS).write_bytes(tensors)

        return self._take_in(fill, name, activate, source)

    def add_folder(
        self, pack: Path, name: str | None = None, *, activate: bool = False, source: str
    ) -> str:
        """The same for a pack's folder on this machine, of any size."""

        def fill(folder: Path) -> None:
            for member in (CARD, TENSORS):
                shutil.copyfile(pack / member, folder / member)

        return self._take_in(fill, name, activate, source)

    def activate(self, name: str, version: str) -> None:
        """Let a version answer for the name; a retired one comes back."""
        with self.store.write() as session:
            self.activate_in(session, name, version)

    def activate_in(self, session: Session, name: str, version: str) -> None:
        """The same within a transaction of `Store.write`."""
        pack, row = _pack(session, name), _version(session, name, version)
        row.retired = False
        _activate(session, pack, row.version)

    def retire(self, name: str, version: str | None = None) -> None:
        """Let a version (by default all) answer no more; its files stay, and it can come back.

        Raises `ConflictError` where it is the active one and named: first another must be chosen.
        """
        with self.store.write() as session:
            pack = _pack(session, name)
            if version is not None:
                row = _version(session, name, version)
                if pack.active == row.version:
                    raise ConflictError(
                        f"'{name}' answers with version {row.version}",
                        do="Activate another version first, or retire the whole pack",
                    )
                row.retired = True
                return
            pack.active = None
            mine = update(VersionRow).where(VersionRow.name == name)
            session.execute(mine.values(retired=True))
            mine = update(ActivationRow).where(ActivationRow.name == name)
            session.execute(mine.values(undone=True))

    def rollback(self, name: str) -> str:
        """Go back to the version that was active before this one; returns it.

        Raises `ConflictError` where there is none.
        """
        with self.store.write() as session:
            pack = _pack(session, name)
            past = session.execute(
                select(ActivationRow, VersionRow.retired)
                .join(VersionRow)
                .where(ActivationRow.name == name, ~ActivationRow.undone)
                .order_by(ActivationRow.id.desc())
            ).all()
            before = [a for a, retired in past if not retired and a.version != pack.active]
            if not before:
                raise ConflictError(
                    f"'{name}' has no version to go back to", do="Activate one of its versions"
                )
            for activation, _ in past:
                activation.undone = activation.undone or activation.id > before[0].id
            pack.active = before[0].version
            return before[0].version

    def _take_in(
        self, fill: Callable[[Path], None], name: str | None, activate: bool, source: str
    ) -> str:
        """Under the lock all along, so that what lies in `.incoming` at another time is waste."""
        try:
            with self.store.lock, self._incoming() as folder:
                fill(folder)
                card = checked(folder)
                name = name_of(card, name)
                for member in (CARD, TENSORS):
                    os.chmod(folder / member, 0o600)
                    sync_file(folder / member)
                sync_folder(folder)
                return self._land(folder, card, name, activate, source)
        except OSError as error:
            raise write_error(self.folder / (name or "pack"), error) from error

    def _land(self, folder: Path, card: Card, name: str, activate: bool, source: str) -> str:
        """Rename into place, then commit; under the lock."""
        version = card.integrity[:DIGITS]
        place = self._place(name, version)
        size = sum(file.stat().st_size for file in folder.iterdir())
        with self.store.write() as session:
            pack = session.get(PackRow, name)
            if pack is not None and pack.task != card.task:
                raise PackError(
                    f"'{name}' is for {pack.task}, and this pack is for {card.task}",
                    do="Give it a name of its own",
                )
            row = session.get(VersionRow, (name, version))
            if row is None or not (place / CARD).is_file():
                put(folder, place)
            if pack is None:
                session.add(pack := PackRow(name=name, task=card.task, active=None))
                session.flush()
            if row is None:
                session.add(row_of(name, version, card, size, source))
                session.flush()
            if activate:
                _activate(session, pack, version)
        return version

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self.folder / INCOMING))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _place(self, name: str, version: str) -> Path:
        return self.folder / name / version

    def _sweep(self) -> None:
        """Remove what a crash left: temporary folders, and files that no row knows."""
        with self.store.lock, self.store.read() as session:
            known = {(row.name, row.version) for row in session.scalars(select(VersionRow))}
            for folder in self.folder.glob("*/*"):
                if (folder.parent.name, folder.name) not in known:
                    shutil.rmtree(folder, ignore_errors=True)


def _activate(session: Session, pack: PackRow, version: str) -> None:
    if pack.active != version:
        pack.active = version
        at = time.time()
        session.add(ActivationRow(name=pack.name, version=version, at=at, undone=False))


def _pack(session: Session, name: str) -> PackRow:
    row = session.get(PackRow, name)
    if row is None:
        raise UnknownNameError("pack", name, session.scalars(select(PackRow.name)))
    return row


def _version(session: Session, name: str, version: str) -> VersionRow:
    row = session.get(VersionRow, (name, version))
    if row is None:
        known = session.scalars(select(VersionRow.version).where(VersionRow.name == name))
        raise UnknownNameError(f"version of '{name}'", version, known)
    return row


def _info(session: Session, pack: PackRow) -> PackInfo:
    newest = VersionRow.added.desc()
    rows = session.scalars(select(VersionRow).where(VersionRow.name == pack.name).order_by(newest))
    versions = tuple(
        Version(**{field: getattr(row, field) for field in Version.__dataclass_fields__})
        for row in rows
    )
    return PackInfo(pack.name, pack.task, pack.active, versions)
