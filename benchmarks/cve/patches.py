"""Unified diffs, read and applied as text: what `patch` does, and which lines of the old text.

Nothing is run and nothing is written. A hunk that is not where it says is looked for nearby, then
with its outer lines of context left out, as `patch` does (its fuzz of 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
FUZZ = 2
NEARBY = 400
"""Lines that a hunk may have moved."""


@dataclass(frozen=True)
class Hunk:
    """start: the line of the old text it says, from 0. lines: (" ", "-" or "+", text)."""

    start: int
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FilePatch:
    """What one patch does to one file; paths without their first folder, "" for no file."""

    old: str
    new: str
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True)
class Applied:
    """text: the new one. removed: lines of the old text that are gone. before: lines of the old
    text in front of which something was put and nothing was removed. Lines count from 0.
    """

    text: str
    removed: frozenset[int]
    before: frozenset[int]


def read_patch(text: str) -> list[FilePatch]:
    """Every file of a patch, in order; what is no unified diff is passed over."""
    lines, at, out = text.split("\n"), 0, list[FilePatch]()
    while at < len(lines) - 1:
        if not (lines[at].startswith("--- ") and lines[at + 1].startswith("+++ ")):
            at += 1
            continue
        old, new = _path(lines[at]), _path(lines[at + 1])
        at += 2
        hunks = []
        while at < len(lines) and (head := HUNK.match(lines[at])):
            found, at = _hunk(lines, at + 1, lines[at])
            hunks.append(Hunk(max(0, int(head[1]) - 1), tuple(found)))
        if hunks:
            out.append(FilePatch(old, new, tuple(hunks)))
    return out


def apply(text: str, patch: FilePatch) -> Applied | None:
    """The patched text; None where a hunk fits nowhere."""
    old = text.split("\n")
    out: list[str] = []
    removed: set[int] = set()
    before: set[int] = set()
    done = shift = 0
    for hunk in patch.hunks:
        placed = _place(old, hunk, done, shift)
        if placed is None:
            return None
        at, lines = placed
        shift = at - hunk.start
        out += old[done:at]
        changed = _changed(lines)
        for index, (mark, line) in enumerate(lines):
            if mark == "+":
                out.append(line)
                if not changed[index]:
                    before.add(at)
                continue
            if mark == "-":
                removed.add(at)
            else:
                out.append(old[at])  # the file's own line: white space may differ
            at += 1
        done = at
    out += old[done:]
    return Applied("\n".join(out), frozenset(removed), frozenset(before - removed))


def _changed(lines: tuple[tuple[str, str], ...]) -> list[bool]:
    """For each line, whether its run of changes removes something."""
    out = [False] * len(lines)
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end][0] != " ":
            end += 1
        removes = any(mark == "-" for mark, _ in lines[start:end])
        out[start:end] = [removes] * (end - start)
        start = max(end, start + 1)
    return out


def _place(
    old: list[str], hunk: Hunk, done: int, shift: int
) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """Where a hunk fits, and its lines without the context that had to be left out."""
    for fuzz in range(FUZZ + 1):
        lines, cut = _trimmed(hunk.lines, fuzz)
        wanted = [_bare(text) for mark, text in lines if mark != "+"]
        if not wanted and hunk.start:
            return None
        for at in _candidates(hunk.start + cut + shift):
            if at < done or at + len(wanted) > len(old):
                continue
            if all(_bare(old[at + i]) == line for i, line in enumerate(wanted)):
                return at, lines
    return None


def _candidates(around: int) -> Iterator[int]:
    yield around
    for distance in range(1, NEARBY):
        yield around - distance
        yield around + distance


def _trimmed(
    lines: tuple[tuple[str, str], ...], fuzz: int
) -> tuple[tuple[tuple[str, str], ...], int]:
    """A hunk without `fuzz` lines of context at either end, and how many the front lost."""
    front = next((i for i, (mark, _) in enumerate(lines) if mark != " "), 0)
    back = next((i for i, (mark, _) in enumerate(reversed(lines)) if mark != " "), 0)
    context = max(front, back)  # the shorter side is left out last, as `patch` does
    first, last = (max(0, fuzz + side - context) for side in (front, back))
    return lines[first : len(lines) - last], first


def _hunk(lines: list[str], at: int, head: str) -> tuple[list[tuple[str, str]], int]:
    """The lines of a hunk by the counts that its head gives."""
    counts = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", head)
    assert counts is not None  # HUNK matched
    left, right = (int(n) if n is not None else 1 for n in counts.groups())
    out: list[tuple[str, str]] = []
    while (left or right) and at < len(lines):
        line = lines[at]
        mark = line[:1] or " "  # an empty line of context whose space was stripped
        at += 1
        if mark == "\\":
            continue
        if mark not in " +-":
            break
        out.append((mark, line[1:]))
        left -= mark != "+"
        right -= mark != "-"
    return out, at


def _path(line: str) -> str:
    """`--- a/src/x.c<TAB>date` without its first folder; "" for /dev/null."""
    path = re.split(r"\t|\s+\d{4}-\d\d-\d\d", line[4:])[0].strip().strip('"')
    return "" if path == "/dev/null" else path.partition("/")[2] or path


def _bare(line: str) -> str:
    return line.rstrip("\r\t ")
