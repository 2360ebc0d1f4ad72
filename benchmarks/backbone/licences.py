"""Checks the manifest's Debian licences against each package's own copyright file.

The files are in Debian's machine-readable form (DEP-5): stanzas of globs with a licence each, the
last that fits a path holds. What a package puts under a licence that is not permissive is listed in
`unfit.tsv` beside the manifest, and the harvest passes those paths over. A copyright file in no
machine-readable form is judged by the licences it names, and listed as such.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch, translate
from functools import cache
from pathlib import Path

from benchmarks.backbone.fetch import Package, debian_file, fetch, members
from codeprompt.files import write_text

UNFIT = Path(__file__).with_name("unfit.tsv")
# Anything else is passed over, GPL with its exceptions too.
FIT = re.compile(
    r"MIT|Expat|X11|BSD|Apache|ISC|PSF|Python|HPND|NTP|Zlib|libpng|curl|Unlicen[sc]e|public.domain"
    r"|PostgreSQL|TCL|CC0|Boost|BSL|WTFPL|IJG|Beerware|permissive|W3C|Unicode|ICU|UIUC|NCSA|AFL"
    r"|OpenSSL|SSLeay|Artistic|FTL|Go\b|FSFAP|FSFUL|Bellcore|Zope|^\W*Redistribution and use"
    r"|^\W*Permission|^By obtaining|^This software is provided .?as.is",
    re.I,
)
UNFIT_NAMES = re.compile(
    r"GPL|General Public|\bMPL|\bEPL|\bCDDL|\bCPL|\bEUPL|CeCILL|SSPL|non-?free|CC-BY-(?:NC|SA|ND)"
    r"|JSON\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Stanza:
    """Globs and the short name of their licence; `a or b` where a choice is given."""

    globs: tuple[str, ...]
    licence: str

    @property
    def fits(self) -> bool:
        """Whether one of the choices is permissive in all of its parts."""
        choices = re.split(r",?\s+or\s+|\s*\|\s*", self.licence, flags=re.I)
        return any(bool(FIT.search(c)) and not UNFIT_NAMES.search(c) for c in choices)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a copyright file says of a package. form: `dep5`, `prose` or `missing`."""

    package: str
    form: str
    main: str
    unfit: tuple[Stanza, ...]
    stanzas: tuple[Stanza, ...] = ()


def parse(text: str) -> list[Stanza]:
    """The `Files` stanzas of a machine-readable copyright file, in order."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            head = re.match(r"([A-Za-z-]+):\s*(.*)", line)
            if head:
                key = head[1].lower()
                fields[key] = head[2]
            elif key and line[:1].isspace():
                fields[key] += "\n" + line.strip()
        if "files" in fields:
            globs = tuple(glob.strip(",") for glob in fields["files"].split())
            licence = fields.get("license", "").split("\n", 1)[0].strip()
            found.append(Stanza(globs, licence))
    return found


def judge(package: str, text: str) -> Finding:
    """What a copyright file says; `debian/*`, which no archive of ours holds, is left out."""
    if not text:
        return Finding(package, "missing", "", ())
    stanzas = [s for s in parse(text) if not all(g.startswith("debian/") for g in s.globs)]
    if not stanzas:
        named = sorted({m[0] for m in re.finditer(UNFIT_NAMES, text)})
        whole = Stanza(("*",), " and ".join(named) or "prose")
        return Finding(package, "prose", ", ".join(named), (whole,) if named else ())
    main = next((s.licence for s in stanzas if "*" in s.globs), stanzas[0].licence)
    unfit = tuple(s for s in stanzas if not s.fits)
    return Finding(package, "dep5", main, unfit, tuple(stanzas))


def check(packages: Iterable[Package], downloads: Path) -> list[Finding]:
    """Read the copyright files of all Debian packages, fetched by `apt-get source --diff-only`."""
    out = []
    for package in packages:
        if package.source == "debian":
            place = downloads / "copyright" / package.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_file():
                write_text(place, _copyright(package, downloads))
            out.append(judge(package.name, place.read_text(encoding="utf-8")))
    return out


def _copyright(package: Package, downloads: Path) -> str:
    scratch = (downloads / "copyright" / f".{package.name}").resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        found = debian_file(package, scratch, downloads)
        if found is None:
            return ""
        if found.suffix == ".gz" and ".tar" not in found.name:  # format 1.0: one patch
            patch = gzip.decompress(found.read_bytes()).decode("utf-8", "replace")
            part = re.search(r"^\+\+\+ \S*debian/copyright.*\n((?:[@+].*\n)*)", patch, re.M)
            added = part[1].splitlines() if part else []
            return "\n".join(line[1:] for line in added if line[0] == "+") + "\n"
        with tarfile.open(found) as tar:
            member = tar.extractfile("debian/copyright")
            return member.read().decode("utf-8", "replace") if member else ""
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(findings: Iterable[Finding], path: Path = UNFIT) -> None:
    """`unfit.tsv`: package, licence, globs; one line for each stanza that may not be read."""
    lines = ["package\tlicence\tglobs"]
    for finding in findings:
        for stanza in finding.unfit:
            own = finding.stanzas
            later = own[own.index(stanza) + 1 :] if stanza in own else ()
            # What a later stanza takes out again is written as `!glob`.
            taken = [glob for s in later if s.fits for glob in s.globs]
            back = [f"!{glob}" for glob in taken if any(fnmatch(glob, g) for g in stanza.globs)]
            lines.append(f"{finding.package}\t{stanza.licence}\t{' '.join([*stanza.globs, *back])}")
    write_text(path, "\n".join(lines) + "\n")


@cache
def _unfit(path: Path = UNFIT) -> dict[str, list[tuple[re.Pattern[str], list[re.Pattern[str]]]]]:
    found: dict[str, list[tuple[re.Pattern[str], list[re.Pattern[str]]]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        name, _, globs = line.split("\t")
        wanted = [g for g in globs.split() if not g.startswith("!")]
        back = [re.compile(translate(g[1:])) for g in globs.split() if g.startswith("!")]
        pattern = re.compile("|".join(translate(g) for g in wanted))
        found.setdefault(name, []).append((pattern, back))
    return found


def is_unfit(package: Package, path: str) -> bool:
    """Whether a path of a package's archive is under a licence that is not permissive."""
    if package.source != "debian" or not UNFIT.is_file():
        return False
    inside = path.partition("/")[2]  # below the archive's one folder
    return any(
        pattern.match(inside) and not any(other.match(inside) for other in back)
        for pattern, back in _unfit().get(package.name, ())
    )


def read_after_all(packages: Iterable[Package], downloads: Path, corpus: Path) -> Counter[str]:
    """How many functions of a corpus stand in files that should have been passed over."""
    from benchmarks.backbone.corpus import SUFFIXES, read_rows
    from benchmarks.backbone.exclude import fingerprint
    from codeprompt.languages.functions import functions

    found: dict[bytes, str] = {}
    for package in packages:
        if package.source == "debian" and package.name in _unfit():
            _, archive = fetch(package, downloads)
            for language in package.language.split("+"):
                for path, text in members(package, archive, SUFFIXES[language]):
                    if is_unfit(package, path):
                        for function in functions(text, language):
                            found[fingerprint(function.bare.strip("\n"))] = package.name
    marks = (fingerprint(row.code) for row in read_rows(corpus))
    return Counter(found[mark] for mark in marks if mark in found)
