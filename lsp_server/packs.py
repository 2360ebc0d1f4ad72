"""Which pack answers for a task and a file.

The engine's packs are listed and looked through again when something may have changed. A project's
packs (`.codeprompt/packs`, nearest first) are sent to the engine once a person trusts them, under
a name of their project, inactive: no other project gets them unasked.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codeprompt.errors import CodepromptError
from codeprompt.languages.base import speaks
from lsp_server.cards import Facts, facts_for
from lsp_server.trust import Trust, content_of

if TYPE_CHECKING:
    from codeprompt.client import AsyncClient, PackInfo

FRESH_SECONDS = 5.0
FOLDER = Path(".codeprompt") / "packs"
OF_PROJECT = re.compile(r"project\.([0-9a-f]{8})\.(.+)")
MOST = 32
"""Packs of one project that are looked at."""
Ask = Callable[[Path], Awaitable[bool | None]]


@dataclass(frozen=True)
class Chosen:
    """A pack that answers. shown: what people call it."""

    name: str
    version: str
    task: str
    backbone: str
    facts: Facts | None = None

    @property
    def label(self) -> str:
        """NAME@VERSION, as the engine is asked."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def shown(self) -> str:
        """As `label`, without the project's number."""
        return f"{bare_name(self.name)}@{self.version}"

    def speaks(self, language: str, target: str = "") -> bool:
        """Whether its card has nothing against a language, and one to write; "" is any."""
        facts = self.facts or Facts()
        return speaks(language, facts.languages) and speaks(target, facts.targets)


def project_key(root: Path) -> str:
    """Eight digits that stand for a project's folder."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]


def project_name(root: Path, name: str) -> str:
    """What the engine calls a pack of a project."""
    return f"project.{project_key(root)}.{name}"[:100]


def bare_name(name: str) -> str:
    """A pack's name as people call it: without the project's number."""
    own = OF_PROJECT.fullmatch(name)
    return own[2] if own else name


def foreign(name: str, root: Path | None) -> bool:
    """Whether a pack was made for another project."""
    own = OF_PROJECT.fullmatch(name)
    return own is not None and (root is None or own[1] != project_key(root))


def near_packs(path: Path | None, root: Path | None) -> list[Path]:
    """Packs of the folders above a file, the nearest folder first, up to its project's root."""
    if root is None:
        return []
    inside = path is not None and path.is_relative_to(root)
    folders = path.parents if inside and path is not None else (root,)
    found: list[Path] = []
    for folder in folders:
        if (folder / FOLDER).is_dir():
            found += sorted(p for p in (folder / FOLDER).iterdir() if (p / "card.json").is_file())
        if folder == root:
            break
    return found[:MOST]


class Packs:
    """The packs there are, and which one is chosen."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self.listed: list[PackInfo] = []
        self.picked: dict[str, str] = {}
        self._looked = -FRESH_SECONDS
        self._sent: dict[str, PackInfo] = {}
        self._refused: set[str] = set()
        self._facts: dict[str, Facts | None] = {}

    @property
    def stale(self) -> bool:
        """Whether the list should be read again."""
        return time.monotonic() - self._looked > FRESH_SECONDS

    async def refresh(self, client: AsyncClient) -> bool:
        """Read the list; whether it has changed. Raises `CodepromptError`."""
        self._looked = time.monotonic()
        before = [(p.name, p.version, p.active) for p in self.listed]
        self.listed = await client.packs()
        return before != [(p.name, p.version, p.active) for p in self.listed]

    def outdate(self) -> None:
        """The next look reads the list again."""
        self._looked = -FRESH_SECONDS

    async def send_project(
        self, client: AsyncClient, path: Path | None, root: Path | None, ask: Ask
    ) -> bool:
        """Send the trusted packs of a project; whether any was new.

        ask: asks a person about one; None: nobody can be asked now.
        """
        new = False
        for folder in near_packs(path, root):
            content = content_of(folder)
            if root is None or content is None or content in self._sent or content in self._refused:
                continue
            agreed = self.trust.decision(content)
            if agreed is None:
                agreed = await ask(folder)
                if agreed is not None:
                    self.trust.decide(content, agreed)
            if not agreed:
                self._refused.add(content)
                continue
            try:
                name = project_name(root, folder.name)
                self._sent[content] = await client.upload_pack(folder, name, activate=False)
                new = True
            except CodepromptError:
                self._refused.add(content)
                raise
        if new:
            self.outdate()
        return new

    def choose(
        self,
        task: str,
        wanted: str = "",
        path: Path | None = None,
        root: Path | None = None,
        *,
        language: str = "",
        target: str = "",
    ) -> Chosen | None:
        """The pack for a task: picked by hand, set, of the project, the engine's own; in order.

        language, target: one whose card names others is passed over, unless it was asked for by
        name; `summarize` has it answer where there is no better.
        """
        picked = self.picked.get(task, "")
        name = wanted if not picked or foreign(picked, root) else picked
        if name:
            return None if foreign(name, root) else self._named(name, task, path, root)
        ranked = self.ranked(task, path, root)
        fit = (one for one in ranked if one.speaks(language, target))
        return next(fit, ranked[0] if ranked and task == "summarize" else None)

    def ranked(self, task: str, path: Path | None, root: Path | None) -> list[Chosen]:
        """Packs that may answer for a task unasked, the nearest first."""
        sent = [self._sent.get(content_of(folder) or "") for folder in near_packs(path, root)]
        near = [pack for pack in sent if pack is not None and pack.task == task]
        mine = project_key(root) if root else ""
        usable = [p for p in self.listed if p.task == task and p.active]
        usable.sort(key=lambda p: (p.created, p.where == "service"), reverse=True)
        own = [p for p in usable if (m := OF_PROJECT.fullmatch(p.name)) and m[1] == mine]
        open_to_all = [p for p in usable if not OF_PROJECT.fullmatch(p.name)]
        return [self._chosen(pack) for pack in (*near, *own, *open_to_all)]

    def names(self, task: str, root: Path | None = None) -> list[str]:
        """Names that may be picked for a task."""
        mine = project_key(root) if root else ""
        found = []
        for pack in self.listed:
            own = OF_PROJECT.fullmatch(pack.name)
            if pack.task == task and (not own or own[1] == mine):
                found.append(pack.name)
        return sorted(found)

    def _named(self, wanted: str, task: str, path: Path | None, root: Path | None) -> Chosen | None:
        name, _, version = wanted.partition("@")
        for folder in near_packs(path, root):
            sent = self._sent.get(content_of(folder) or "") if folder.name == name else None
            if sent is not None and sent.task == task and version in ("", sent.version):
                return self._chosen(sent)
        names = (name, project_name(root, name)) if root else (name,)
        for pack in self.listed:
            if pack.name in names and pack.task == task:
                if version and version != pack.version:
                    return Chosen(pack.name, version, task, pack.backbone)
                return self._chosen(pack)
        return None

    def _chosen(self, pack: PackInfo) -> Chosen:
        key = f"{pack.name}@{pack.version}"
        if key not in self._facts:
            self._facts[key] = facts_for(pack)
        return Chosen(pack.name, pack.version, pack.task, pack.backbone, self._facts[key])
