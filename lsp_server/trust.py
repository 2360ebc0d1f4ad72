"""Which packs of a project a person has agreed to: by their content, so a changed one is asked
about again."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from codeprompt.errors import CodepromptError
from codeprompt.files import write_text

NAMES = ("card.json", "prompt.safetensors")
LARGEST = 1 << 28


def content_of(folder: Path) -> str | None:
    """A hash over all that a pack holds; None where it is no pack."""
    try:
        stamps = [(path, path.stat()) for path in (folder / name for name in NAMES)]
        if sum(about.st_size for _, about in stamps) > LARGEST:
            return None
        return _content(
            tuple((str(path), about.st_mtime_ns, about.st_size) for path, about in stamps)
        )
    except OSError:
        return None


@functools.lru_cache(256)
def _content(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """The hash of files, read again only where their stamps have changed."""
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Trust:
    """Decisions, kept in the state folder."""

    def __init__(self) -> None:
        self._once: dict[str, bool] = {}

    @property
    def path(self) -> Path:
        """The file of decisions."""
        from codeprompt.client import Home

        return Home.own().folder / "trusted-packs.json"

    def decision(self, content: str) -> bool | None:
        """What was decided; None where nobody was asked."""
        if content in self._once:
            return self._once[content]
        return True if content in self._read() else None

    def decide(self, content: str, agreed: bool) -> None:
        """Keep a decision: consent for ever, refusal until the server ends."""
        self._once[content] = agreed
        if agreed:
            try:
                write_text(self.path, json.dumps(sorted({*self._read(), content})))
            except CodepromptError:
                return  # asked again next time

    def _read(self) -> set[str]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return set()
        return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()
