"""A function that a model wrote on one line, laid out in lines to be read."""

from __future__ import annotations

import re

from codeprompt.languages import Language
from codeprompt.languages.functions import FREE

PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[{}();]|[^"\'{}();]+|.', re.DOTALL)
GOES_ON = re.compile(r"\s*(?:[;,)]|(?:else|catch|finally|while)\b)")
INDENT = "    "


def laid_out(text: str, language: Language) -> str:
    """A line for each statement, indented by its braces; text that has lines stays as it is."""
    if "\n" in text.strip() or language.name not in FREE:
        return text
    lines, line, depth, inside = [], "", 0, 0

    def end() -> None:
        nonlocal line
        if line.strip():
            lines.append(INDENT * depth + line.strip())
        line = ""

    for found in PIECE.finditer(text):
        piece = found[0]
        inside = max(0, inside + (piece == "(") - (piece == ")"))
        if piece == "}":
            end()
            depth = max(0, depth - 1)
        line += piece
        if piece == "{":
            end()
            depth += 1
        elif (piece == ";" and not inside) or (
            piece == "}" and not GOES_ON.match(text, found.end())
        ):
            end()
    end()
    return "\n".join(lines)
