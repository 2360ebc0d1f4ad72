"""Which languages a function can be translated to: those set, else those that packs write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codeprompt.languages.base import find_language, is_language
from lsp_server.documents import Document
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from lsp_server.server import CodepromptServer


def targets_for(server: CodepromptServer, document: Document, settings: Settings) -> list[str]:
    """Names of languages other than the document's own; no model or engine is asked.

    "" alone where there is a pack and nobody knows what it writes: a person is asked.
    """
    own = document.language.name if document.language else ""
    first = server.choose("translate", document, settings)
    if first is None:
        return []
    picked = settings.packs.translate or server.packs.picked.get("translate")
    root = server.folders.root_of(document.path)
    packs = [first] if picked else server.packs.ranked("translate", document.path, root)
    known = [name for pack in packs if pack.speaks(own) and pack.facts
             for name in pack.facts.targets]  # fmt: skip
    names = [find_language(name).name for name in settings.translate.targets or known
             if is_language(name)]  # fmt: skip
    if not names:
        return [""]
    return [name for name in dict.fromkeys(names) if name != own]
