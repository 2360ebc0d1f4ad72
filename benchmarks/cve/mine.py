"""From a source package's archives to rows: vulnerable functions and the lines to blame.

A package's patches are applied in the order of its series, in memory. Before and after each patch
that names a CVE, the functions of the C files it touches are taken by tree-sitter; one whose text
changed is a row, as it was before the fix. Its lines to blame are those that the fix removed or
changed; where a fix only adds (a check, most often), it is the line in front of which it was put.
Both kinds are told apart in `kinds`. No model and no heuristic of danger decides a label.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cve.patches import Applied, FilePatch, apply, read_patch
from codeprompt.errors import DataError
from codeprompt.languages.functions import Function, functions

CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.I)
TEST = re.compile(r"(^|/)(tests?|testsuite|fuzz\w*|examples?|doc|docs)(/|$)")
MAX_FILE = 600_000
MIN_LINES, MAX_LINES = 4, 200
"""Of a function; the longer ones are cut by every model's limit."""
MOST_CHANGED = 0.5
"""A function of which more is blamed was rewritten, which names no line."""


@dataclass(frozen=True)
class Row:
    """One vulnerable function. lines: 1-based, within `code`; kinds: `changed` or `added`."""

    code: str
    lines: tuple[int, ...]
    kinds: tuple[str, ...]
    fixed: str
    name: str
    cve: str
    package: str
    version: str
    path: str

    def as_json(self) -> dict[str, object]:
        """What the file of rows holds; `lines` as text, as the task's reference."""
        return {
            "code": self.code,
            "lines": " ".join(map(str, self.lines)),
            "kinds": " ".join(self.kinds),
            "language": "c",
            "name": self.name,
            "cve": self.cve,
            "project": self.package,
            "version": self.version,
            "path": self.path,
        }


def series(archive: Path) -> list[tuple[str, str]]:
    """(name, text) of a Debian package's patches in the order in which they are applied.

    Empty where the package has none. Raises `DataError` where the archive cannot be read.
    """
    try:
        with tarfile.open(archive) as tar:
            texts = {
                m.name.removeprefix("./"): f.read().decode("utf-8", "replace")
                for m in tar
                if m.isfile() and "debian/patches/" in m.name and (f := tar.extractfile(m))
            }
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} cannot be read: {error}") from error
    listed = texts.get("debian/patches/series", "")
    names = [line.split("#")[0].split() for line in listed.splitlines()]
    return [
        (found[0], texts[f"debian/patches/{found[0]}"])
        for found in names
        if found and f"debian/patches/{found[0]}" in texts
    ]


def touches_c(patches: list[tuple[str, str]]) -> bool:
    """Whether a patch that names a CVE changes a C file."""
    return any(
        CVE.search(name) and any(p.old.endswith(".c") for p in read_patch(text))
        for name, text in patches
    )


def sources(archive: Path) -> dict[str, str]:
    """Path, without the archive's own folder, to the text of every C file."""
    out: dict[str, str] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.removeprefix("./").partition("/")[2]
                if member.isfile() and name.endswith((".c", ".h")) and member.size <= MAX_FILE:
                    file = tar.extractfile(member)
                    if file is not None:
                        out[name] = file.read().decode("utf-8", "replace")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} cannot be read: {error}") from error
    return out


def mine(
    package: str,
    version: str,
    texts: dict[str, str],
    patches: list[tuple[str, str]],
    counts: Counter[str],
) -> Iterator[Row]:
    """The rows of one package; counts: what was passed over, and why, is added to it.

    texts: changed on the way to the patched sources.
    """
    for name, text in patches:
        cve = CVE.search(name)
        for patch in read_patch(text):
            path = patch.old or patch.new
            if path not in texts:
                continue
            done = apply(texts[path], patch)
            if done is None:
                counts["patches that did not apply" if cve else "other patches, not applied"] += 1
                continue
            if cve and path.endswith(".c") and not TEST.search(path):
                counts["files of CVE patches"] += 1
                yield from _rows(package, version, path, cve[0].upper(), texts[path], done, counts)
            texts[path] = done.text


def _rows(
    package: str,
    version: str,
    path: str,
    cve: str,
    before: str,
    done: Applied,
    counts: Counter[str],
) -> Iterator[Row]:
    after = _by_name(done.text)
    for name, function in _by_name(before).items():
        other = after.get(name)
        if function is None or other is None:
            continue
        code, fixed = function.bare, other.bare
        if code == fixed:
            continue
        first, last = function.start_line - 1, function.end_line - 1
        blamed = {line: "changed" for line in done.removed if first <= line <= last}
        blamed |= {line: "added" for line in done.before if first < line <= last}
        lines = _told(code, {line - first: kind for line, kind in blamed.items()})
        size = code.count("\n") + 1
        if not lines:
            counts["functions that only moved or lost blank lines"] += 1
        elif not MIN_LINES <= size <= MAX_LINES:
            counts[f"functions of other than {MIN_LINES} to {MAX_LINES} lines"] += 1
        elif len(lines) > MOST_CHANGED * size:
            counts["functions rewritten"] += 1
        else:
            numbers = tuple(line + 1 for line in sorted(lines))
            kinds = tuple(lines[n - 1] for n in numbers)
            yield Row(code, numbers, kinds, fixed, name, cve, package, version, path)


def _told(code: str, blamed: Mapping[int, str]) -> dict[int, str]:
    """Blamed lines that hold code: a blank or a comment hands an added line's blame on."""
    rows, out = code.split("\n"), dict[int, str]()
    for line, kind in sorted(blamed.items()):
        if kind == "added":
            while line < len(rows) and not _says(rows[line]):
                line += 1
        if line < len(rows) and _says(rows[line]):
            out.setdefault(line, kind)
    return out


def _says(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith(("//", "/*", "*"))


def _by_name(text: str) -> dict[str, Function | None]:
    """Functions by name; None for a name that stands twice (behind #if and #else)."""
    out: dict[str, Function | None] = {}
    try:
        for function in functions(text, "c"):
            known = function.qualified_name in out
            out[function.qualified_name] = None if known else function
    except DataError:
        return {}
    return out


__all__ = ["FilePatch", "Row", "mine", "series", "sources", "touches_c"]
