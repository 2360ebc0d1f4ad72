"""Packs from shared storage: whatever fsspec reads (a path, s3://, gs://, https:// ...), kept here.

Below the URL lie folders as in `.codeprompt/packs`: NAME/card.json and NAME/prompt.safetensors.
What is new is copied, checked as an upload is, and kept under its content's hash; nothing is ever
written to the storage. A pack that is just being written there fails its check, and is tried again.
"""

from __future__ import annotations

import warnings
from typing import Any

import structlog

from codeprompt.errors import CodepromptError, PackError, UsageError
from codeprompt.pack.card import MAX_BYTES, NAME, decode
from codeprompt.service.packs import DIGITS, MAX_TENSORS, Packs
from codeprompt.service.state.intake import CARD, TENSORS

SOURCE = "shared"
log = structlog.get_logger("codeprompt.service")


class Shared:
    """The packs below a URL. Raises `UsageError` where nothing here can read such a URL."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self.files, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            scheme = url.partition("://")[0]
            raise UsageError(
                f"Packs from {scheme}:// need a package that is not installed: {error}",
                do="Install it (s3fs for s3://, gcsfs for gs://, adlfs for abfs://)",
            ) from error
        except (ValueError, OSError) as error:
            raise UsageError(f"Packs cannot be read from {url}: {error}") from error
        self._failed: dict[str, str] = {}

    def names(self) -> list[str]:
        """Of all packs that are there. Raises `CodepromptError` where the folder cannot be read."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = self.files.ls(self.root, detail=True)
        except Exception as error:  # each storage has errors of its own
            raise CodepromptError(
                f"The packs in {self.url} cannot be listed: {type(error).__name__}: {error}",
                do="Look at the URL, and whether this machine may read it",
            ) from error
        folders = (entry["name"].rstrip("/") for entry in found if entry["type"] == "directory")
        names = (folder.replace("\\", "/").rpartition("/")[2] for folder in folders)
        return sorted(name for name in names if NAME.fullmatch(name))

    def sync(self, packs: Packs) -> list[tuple[str, str | None]]:
        """Make the packs here those that are there; (name, version) of those that changed.

        The version is None for a pack that is gone. One that cannot be read or is no pack is
        passed over, and what was there of it answers on. Raises as `names` does.
        """
        names = self.names()
        mine = {
            pack.name: pack
            for pack in packs.list()
            if any(version.source == SOURCE for version in pack.versions)
        }
        changed: list[tuple[str, str | None]] = []
        for name in names:
            try:
                version = self._brought(name, packs)
            except Exception as error:
                self._tell(name, f"{type(error).__name__}: {error}")
                continue
            self._failed.pop(name, None)
            if name not in mine or mine[name].active != version:
                changed.append((name, version))
        for name, pack in mine.items():
            if name not in names and pack.active is not None:
                packs.retire(name)
                changed.append((name, None))
        return changed

    def _brought(self, name: str, packs: Packs) -> str:
        """The version of a pack that is there, now here and active."""
        card = self._read(name, CARD, MAX_BYTES)
        version = decode(card, f"{name}/{CARD}").integrity[:DIGITS]
        known = {(p.name, v.version): p for p in packs.list() for v in p.versions}
        here = known.get((name, version))
        if here is None:
            tensors = self._read(name, TENSORS, MAX_TENSORS)
            return packs.add(card, tensors, name, activate=True, source=SOURCE)
        if here.active != version:
            packs.activate(name, version)
        return version

    def _read(self, name: str, member: str, limit: int) -> bytes:
        path = f"{self.root.rstrip('/')}/{name}/{member}"
        size = self.files.size(path)
        if size is not None and size > limit:
            raise PackError(f"{name}/{member} has {size:,} bytes", expected=f"at most {limit:,}")
        data: Any = self.files.cat_file(path)
        if len(data) > limit:
            raise PackError(f"{name}/{member} is too long", expected=f"at most {limit:,} bytes")
        return bytes(data)

    def _tell(self, name: str, reason: str) -> None:
        """Once for each reason."""
        if self._failed.get(name) != reason:
            self._failed[name] = reason
            log.warning("shared pack left out", pack=name, error=reason.partition(":")[0])


__all__ = ["SOURCE", "Shared"]
