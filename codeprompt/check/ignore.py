"""`codeprompt: ignore` in a comment on a function's first line, or in the comments right above."""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = re.compile(r"(?:#|//|/\*|\*|--).*?\bcodeprompt:\s*ignore\b", re.IGNORECASE)
ABOVE = re.compile(r"\s*(?:#|//|/\*|\*|--|@|\[)")
"""What a line between a comment and its function starts with: comments, decorators, attributes."""
FAR = 40


def is_ignored(lines: Sequence[str], first: int) -> bool:
    """Whether a comment asks to leave out the function whose first line is `first` (1-based)."""
    if not 1 <= first <= len(lines):
        return False
    if MARK.search(lines[first - 1]):
        return True
    for number in range(first - 2, max(-1, first - 2 - FAR), -1):
        line = lines[number]
        if not ABOVE.match(line):
            return False
        if MARK.search(line):
            return True
    return False
