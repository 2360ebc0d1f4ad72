"""The corpus: functions with their one-sentence summaries, harvested, cleaned and de-duplicated.

Every archive of the manifest is read in memory; its functions come from `codeprompt.languages`.
A function is dropped where it is an exact duplicate (white-space-free), where test data holds it or
its like (`exclude.py`), or where it is too short or long to teach anything. A summary is the first
sentence of the doc comment, kept only where it reads like one.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.backbone.blocklist import Sketches
from benchmarks.backbone.exclude import BLOCKED, Blocklist, fingerprint, texts_of
from benchmarks.backbone.fetch import Package, fetch_all, members, read_manifest
from benchmarks.backbone.licences import is_unfit
from codeprompt.errors import DataError
from codeprompt.files import atomic_path, write_text

SUFFIXES = {
    "python": (".py",),
    "java": (".java",),
    "c": (".c",),
    "c-sharp": (".cs",),
    "javascript": (".js", ".mjs"),
    "typescript": (".ts",),
    "go": (".go",),
    "ruby": (".rb",),
    "php": (".php",),
}
# What a package may give at most: no single style should fill the corpus.
MOST = 9_000
SKIPPED_PATHS = re.compile(
    r"(?:^|/)(?:tests?|testing|testsuite|testdata|node_modules|_?vendor(?:ed)?|third_party|external"
    r"|generated|fixtures|locale|migrations|examples?)/|\.min\.js$|\.bundle\.js$|\.d\.ts$|_pb2\.py$",
    re.I,
)
SPACE = re.compile(r"\s+")
NOT_PROSE = re.compile(
    r"https?://|//|[@\\]\w+|\btodo\b|\bfixme\b|copyright|license|:param|>>>|\$Id|---|===|\*\*\*|deprecated"
    r"|auto-?generated|do not (?:edit|use)|\(non-javadoc\)|inheritdoc|see (?:also|super)|^see ",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A function as it stands in the corpus; `summary` is empty where it has none."""

    language: str
    name: str
    code: str
    summary: str
    package: str


def prose(sentence: str) -> str:
    """A doc comment's first sentence with one full stop, or nothing where it is no plain prose."""
    text = SPACE.sub(" ", sentence).strip(" \"'*/#-")
    text = text.rstrip(" .:;,") + "." if text else ""
    letters = sum(c.isalpha() or c == " " for c in text)
    if not 3 <= len(text.split()) <= 30 or len(text) > 200 or not text.isascii():
        return ""
    if letters < 0.8 * len(text) or not text[0].isalpha() or NOT_PROSE.search(text):
        return ""
    return text[0].upper() + text[1:]


def harvest(package: Package, archive: Path) -> list[Row]:
    """The functions of one archive, at most `MOST`, documented ones first."""
    from codeprompt.languages.functions import functions

    wanted = package.language.split("+")
    rows: list[Row] = []
    for language in wanted:
        for path, text in members(package, archive, SUFFIXES[language]):
            if SKIPPED_PATHS.search(path) or BLOCKED.search(path) or is_unfit(package, path):
                continue
            try:
                found = functions(text, language)
            except (RecursionError, ValueError, DataError):
                continue
            for function in found:
                code = function.bare.strip("\n")
                if 30 <= len(code) <= 6_000 and code.count("\n") < 200:
                    summary = prose(function.summary)
                    rows.append(Row(language, function.name, code, summary, package.name))
    rows.sort(key=lambda r: (not r.summary, hashlib.md5(r.code.encode()).digest()))
    once = {SPACE.sub("", row.code): row for row in reversed(rows)}  # vendored twins, e.g. android/
    rows = sorted(once.values(), key=lambda r: not r.summary)
    documented = sum(bool(r.summary) for r in rows)
    return rows[: min(MOST, max(2 * documented, 1_000))]


def _harvest_file(job: tuple[Package, Path, Path]) -> str:
    package, archive, target = job
    if not target.is_file():
        rows = harvest(package, archive)
        lines = [json.dumps([r.language, r.name, r.code, r.summary, r.package]) for r in rows]
        write_text(target, "\n".join(lines) + "\n")
    return package.name


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one harvested, finished or packed file."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            if line.strip():
                yield Row(*json.loads(line))


def build(
    out: Path, exclude: Path | None, names: frozenset[str] | None = None, jobs: int = 2
) -> dict[str, object]:
    """Fetch, harvest and filter into `out/corpus.jsonl`; returns and writes the report.

    names: of the manifest's packages; None for all.
    """
    wanted = [p for p in read_manifest() if names is None or p.name in names]
    packages = fetch_all(wanted, out / "downloads")
    (out / "harvest").mkdir(parents=True, exist_ok=True)
    work = [
        (p, archive, out / "harvest" / f"{p.source}-{p.name.replace('/', '-')}.jsonl")
        for p, archive in packages
    ]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(_harvest_file, work))
    report = filter_rows([target for _, _, target in work], out / "corpus.jsonl", exclude, jobs)
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    return report


_BLOCKED: list[Blocklist | Sketches] = []  # inherited by the worker processes


def _reasons(path: Path) -> list[str]:
    return [_BLOCKED[0].reason(row.code) for row in read_rows(path)]


def filter_rows(
    files: list[Path], target: Path, exclude: Path | None, jobs: int = 2
) -> dict[str, object]:
    """Drop duplicates and test data; returns what was kept and dropped, per language."""
    # The committed hashes stand in where the test data itself is not at hand.
    blocked = Blocklist(texts_of(exclude)) if exclude else Sketches.load()
    _BLOCKED[:] = [blocked]
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        verdicts = list(pool.map(_reasons, files))
    seen: set[bytes] = set()
    said: Counter[str] = Counter()
    alike: set[tuple[str, str]] = set()
    kept: Counter[str] = Counter()
    documented: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for path, reasons in zip(files, verdicts, strict=True):
            for row, reason in zip(read_rows(path), reasons, strict=True):
                mark = fingerprint(row.code)
                if mark in seen:
                    dropped["duplicate"] += 1
                    continue
                seen.add(mark)
                if reason:
                    dropped[f"test data, {reason}"] += 1
                    continue
                summary = row.summary
                if summary:  # the same sentence again and again teaches a constant
                    said[summary] += 1
                    key = (row.name, summary)
                    if said[summary] > 4 or key in alike:
                        dropped["summary repeated"] += 1
                        summary = ""
                    alike.add(key)
                kept[row.language] += 1
                documented[row.language] += bool(summary)
                row_out = [row.language, row.name, row.code, summary, row.package]
                handle.write(json.dumps(row_out) + "\n")
    exact = sum(blocked.holds(row.code) for row in read_rows(target))
    return {
        "functions": dict(kept),
        "documented": dict(documented),
        "dropped": dict(dropped),
        "exact overlap left": exact,
    }
