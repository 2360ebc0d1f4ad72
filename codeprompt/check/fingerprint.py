"""A function's fingerprint: the hash of its text, normalised so that it survives moves.

Layout, comments and documentation do not count, nor where the function stands; its name and its
tokens do. The same text twice has the same fingerprint.
"""

from __future__ import annotations

import hashlib

from codeprompt.languages.functions import Function, tokens

KEY = "codepromptFunction/v1"
"""The name of this fingerprint in SARIF; another normalisation gets another number."""
BLOCKS = ("/*", "=begin")
"""What opens a comment of several lines; a comment is one token, and so is a string."""


def fingerprint(function: Function) -> str:
    """32 hexadecimal digits."""
    comments = (*function.language.line_comments, *BLOCKS)
    words = [w for w in tokens(function.bare, function.language) if not w.startswith(comments)]
    text = "\x1f".join((function.language.name, function.qualified_name, *words))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
