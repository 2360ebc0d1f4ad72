"""Debian source packages by name and pinned version, by apt with a state folder of its own.

Nothing of the system is changed, nothing is unpacked to disk and nothing of a package is run.
"""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import tarfile
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from benchmarks.backbone.fetch import DEBIAN, SUITE, apt_state, call
from codeprompt.errors import DataError
from codeprompt.files import write_text

MANIFEST = Path(__file__).with_name("manifest.tsv")
SECURITY = "http://deb.debian.org/debian-security"
LINES = (f"{DEBIAN} {SUITE} main", f"{SECURITY} {SUITE}-security main")
MOST_BYTES = 30_000_000
"""Of an upstream archive."""


@dataclass(frozen=True)
class Source:
    """One line of the manifest. licence: of `Files: *` in the package's copyright file."""

    name: str
    version: str = ""
    licence: str = ""
    orig_sha256: str = ""
    debian_sha256: str = ""


@dataclass(frozen=True)
class Archives:
    """The upstream archive and Debian's own part."""

    orig: Path
    debian: Path


def read_manifest(path: Path = MANIFEST) -> list[Source]:
    """The manifest's packages, in order."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return [Source(**{f.name: row.get(f.name) or "" for f in fields(Source)}) for row in rows]


def write_manifest(found: list[Source], path: Path = MANIFEST) -> None:
    """Write the manifest in its one form."""
    lines = ["\t".join(f.name for f in fields(Source))]
    write_text(path, "\n".join([*lines, *("\t".join(astuple(one)) for one in found)]) + "\n")


def ready(folder: Path) -> None:
    """Make apt's state folder, before several ask for it at once."""
    folder.mkdir(parents=True, exist_ok=True)
    _apt(folder)


def fetch_debian(source: Source, folder: Path) -> Path:
    """Debian's part alone: it tells whether there is anything to mine."""
    return _fetch(source, folder, "*.debian.tar.*", ["--diff-only"])


def fetch(source: Source, folder: Path) -> tuple[Source, Archives]:
    """Both archives; the source with its version, licence and sums told.

    Raises `DataError` where a pinned sum differs, or the package is larger than `MOST_BYTES`.
    """
    debian = fetch_debian(source, folder)
    if not source.version:
        source = replace(source, version=_version(source.name, debian, folder))
    orig = _fetch(source, folder, "*.orig.tar.*", ["--tar-only"])
    found = replace(
        source,
        licence=source.licence or licence_of(debian),
        orig_sha256=_sum(orig, source.orig_sha256),
        debian_sha256=_sum(debian, source.debian_sha256),
    )
    return found, Archives(orig, debian)


def _version(name: str, debian: Path, folder: Path) -> str:
    """The version of an archive, with the epoch that its file name leaves out."""
    bare = re.sub(r"\.debian\.tar\.\w+$", "", debian.name).partition("_")[2]
    told = call(["apt-cache", "showsrc", "--only-source", name], debian.parent, _apt(folder))
    known = re.findall(r"^Version: (\S+)$", told, re.M)
    return next((v for v in known if v.partition(":")[2] == bare or v == bare), bare)


def _apt(folder: Path) -> dict[str, str]:
    return apt_state(folder, folder, LINES)


def licence_of(debian: Path) -> str:
    """The short name in the first stanza of the copyright file, as Debian's reviewers wrote it."""
    with tarfile.open(debian) as tar:
        for member in tar:
            if member.name.removeprefix("./") == "debian/copyright":
                file = tar.extractfile(member)
                text = file.read().decode("utf-8", "replace") if file else ""
                named = re.search(r"^Files:\s*\*.*?^License:[ \t]*([^\n]+)", text, re.M | re.S)
                return " ".join(named[1].split()) if named else "see debian/copyright"
    return "see debian/copyright"


def _fetch(source: Source, folder: Path, pattern: str, only: list[str]) -> Path:
    place = folder / "debian" / source.name
    place.mkdir(parents=True, exist_ok=True)
    known = _pick(place, pattern)
    if known is not None:
        return known
    environment = _apt(folder)
    pinned = f"{source.name}={source.version}" if source.version else source.name
    command = ["apt-get", "source", "--download-only", "-q", *only, pinned]
    if only == ["--tar-only"]:
        _check_size(pinned, place, environment)
    scratch = place / "part"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        call(command, scratch, environment)
        found = _pick(scratch, pattern)
        if found is None:
            raise DataError(f"{pinned} has no {pattern}", do="Leave it out of the manifest")
        return found.rename(place / found.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_size(pinned: str, place: Path, environment: dict[str, str]) -> None:
    command = ["apt-get", "source", "--print-uris", "-q", "--tar-only", pinned]
    told = call(command, place, environment)
    sizes = [int(n) for n in re.findall(r"\.orig\S*\.tar\.\w+ (\d+) ", told)]
    if sum(sizes) > MOST_BYTES:
        raise DataError(f"{pinned} has {sum(sizes):,} bytes", expected=f"at most {MOST_BYTES:,}")


def _pick(place: Path, pattern: str) -> Path | None:
    found = [p for p in sorted(place.glob(pattern)) if not p.name.endswith(".asc")]
    return found[0] if found else None


def _sum(path: Path, pinned: str) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if pinned and digest != pinned:
        raise DataError(
            f"{path} has the sha256 {digest}",
            expected=f"{pinned} as in the manifest",
            do="Delete the file and fetch again",
        )
    return digest
