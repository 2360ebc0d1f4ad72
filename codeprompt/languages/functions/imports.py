"""What a file imports, as names: the context of every function in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codeprompt.languages.base import Language

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

DEEP, WIDE, MOST = 4, 2000, 200
"""How far below the root imports are looked for (include guards, lists), in how many nodes of a
level, and how many are told."""
QUOTED = re.compile(r"""["'<]([^"'<>]+)["'>]""")
WORDS = re.compile(r"\b(?:import|from|using|use|static|global|function|const|type)\b|[;{}()]")
NAME = re.compile(r"[\w.\\*:/@-]+")
CALLS = re.compile(r"(?:require|require_relative|load|include|extend)\b")


def imports(tree: Tree, language: Language) -> tuple[str, ...]:
    """Names in the order of the file, each once: `os.path`, `stdio.h`, `java.util.List`.

    Bounded in depth and number: a list of a million items is not walked.
    """
    found: list[Node] = []
    level = [tree.root_node]
    for depth in range(DEEP):
        below: list[Node] = []
        for node in level:
            if depth and node.child_count > WIDE:
                continue
            for child in node.named_children:
                if child.type in language.imports:
                    found.append(child)
                elif child.type not in language.functions:
                    below.append(child)
        level = below[:WIDE]
    found.sort(key=lambda node: node.start_byte)
    names = dict.fromkeys(name for node in found for name in _names(node))
    return tuple(names)[:MOST]


def _names(node: Node) -> list[str]:
    text = (node.text or b"").decode("utf-8", "replace")
    if node.type == "call":  # Ruby has no word for it
        return QUOTED.findall(text) if CALLS.match(text) else []
    if quoted := QUOTED.findall(text):
        return [name.strip() for name in quoted]
    if text.startswith("from "):  # the module, not what is taken out of it
        text = text[5:].split(" import", 1)[0]
    parts = (re.split(r"\s+as\s+|=", part)[-1 if "=" in part else 0] for part in text.split(","))
    names = (NAME.findall(WORDS.sub(" ", part)) for part in parts)
    return [found[0] for found in names if found]
