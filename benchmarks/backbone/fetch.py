"""Fetch the packages of the manifest by the ordinary clients and check their sums.

A package is one archive: a wheel (`pip download`), a Debian source package's upstream tarball
(`apt-get source --download-only` with its own state folder, nothing of the system is changed) or
an npm tarball (`npm pack`). Nothing is installed, nothing of the archive is run, and archives are
only ever read in memory.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from codeprompt.errors import DataError
from codeprompt.files import write_text

MANIFEST = Path(__file__).with_name("manifest.tsv")
DEBIAN = "http://deb.debian.org/debian"
SUITE = "bookworm"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
MAX_FILE = 400_000  # bytes; larger source files are generated ones


@dataclass(frozen=True, slots=True)
class Package:
    """One line of the manifest; `only` is a path prefix inside the archive, or empty."""

    source: str
    name: str
    version: str
    licence: str
    language: str
    only: str
    sha256: str


def read_manifest(path: Path = MANIFEST) -> list[Package]:
    """The manifest's packages, in order."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return [Package(**{f.name: row.get(f.name) or "" for f in fields(Package)}) for row in rows]


def packages_of(state: Mapping[str, Any]) -> list[Package]:
    """The manifest's packages that a run was trained on, by its checkpoint's state."""
    names = state.get("packages")
    return [p for p in read_manifest() if names is None or p.name in names]


def write_manifest(packages: list[Package], path: Path = MANIFEST) -> None:
    """Write the manifest in its one form, so that a pin shows as a small difference."""
    lines = ["\t".join(f.name for f in fields(Package))]
    lines += ["\t".join(astuple(package)) for package in packages]
    write_text(path, "\n".join(lines) + "\n")


def fetch(package: Package, folder: Path) -> tuple[Package, Path]:
    """Bring the archive into `folder`; returns the package with version and sum, and its file.

    Raises `DataError` where a pinned sum differs or the client brings nothing.
    """
    place = folder / package.source / package.name
    place.mkdir(parents=True, exist_ok=True)
    found = _archive(place)
    if found is None:
        scratch = place / "part"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        _CLIENTS[package.source](package, scratch, folder)
        got = _archive(scratch)
        if got is None:
            raise DataError(f"{package.source} has no archive for {package.name}")
        found = place / got.name
        os.replace(got, found)
        shutil.rmtree(scratch, ignore_errors=True)
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if package.sha256 and digest != package.sha256:
        raise DataError(
            f"{found} has the sha256 {digest}",
            expected=f"{package.sha256} as in the manifest",
            do="Delete the file and fetch again",
        )
    version = package.version or _version(package, found)
    return replace(package, sha256=digest, version=version), found


def licence_of(package: Package, archive: Path) -> str:
    """What the archive's own metadata says its licence is (PyPI and npm), else the manifest's."""
    if package.source == "pypi":
        with zipfile.ZipFile(archive) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            head = wheel.read(name).decode("utf-8", "replace").split("\n\n", 1)[0]
        said = re.findall(r"^License-Expression: (.+)$", head, re.M)
        said += re.findall(r"^Classifier: License :: (?:OSI Approved :: )?(.+)$", head, re.M)
        said += [t[:60] for t in re.findall(r"^License: (.+)$", head, re.M)]
        return said[0].strip() if said else ""
    if package.source == "npm":
        with tarfile.open(archive) as tar:
            member = tar.extractfile("package/package.json")
            text = member.read().decode("utf-8", "replace") if member else ""
        match = re.search(r'"license"\s*:\s*"([^"]+)"', text)
        return match[1] if match else ""
    return package.licence


def members(
    package: Package, archive: Path, suffixes: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Path and text of each source file inside the archive; nothing is written to disk."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if _wanted(package, info.filename, info.file_size, suffixes):
                    yield info.filename, wheel.read(info).decode("utf-8", "replace")
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or not _wanted(package, member.name, member.size, suffixes):
                continue
            handle = tar.extractfile(member)
            if handle is not None:
                yield member.name, handle.read().decode("utf-8", "replace")


def _wanted(package: Package, name: str, size: int, suffixes: tuple[str, ...]) -> bool:
    return name.endswith(suffixes) and 40 < size <= MAX_FILE and package.only in name


def _archive(place: Path) -> Path | None:
    names = ("*.whl", "*.orig.tar.*", "*.tgz", "*.tar.gz", "*.tar.xz")
    found = [p for name in names for p in sorted(place.glob(name)) if not p.name.endswith(".asc")]
    return found[0] if found else None


def _version(package: Package, archive: Path) -> str:
    if package.source == "pypi":
        return archive.name.split("-")[1]
    if package.source == "debian":
        return archive.name.split("_")[1].split(".orig")[0]
    return archive.stem[len(package.name.lstrip("@").replace("/", "-")) + 1 :]


def call(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a client; what it says. Raises `DataError` where it fails."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True
    )
    if done.returncode:
        raise DataError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _pypi(package: Package, scratch: Path, _folder: Path) -> None:
    pinned = f"{package.name}=={package.version}" if package.version else package.name
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    wheels = ["--only-binary=:all:", "--python-version", "3.11", *platforms]
    call(["pip", "download", "-q", "--no-deps", *wheels, "-d", ".", pinned], scratch)


def apt_state(
    scratch: Path, folder: Path, lines: Sequence[str] = (f"{DEBIAN} {SUITE} main",)
) -> dict[str, str]:
    """The environment of an apt with its own state below `folder`, made where there is none.

    lines: of its list of sources: an archive, a suite, a component.
    """
    state = folder / "apt"
    conf = state / "apt.conf"
    if not conf.is_file():
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        listed = "".join(f"deb-src {key} {line}\n" for line in lines)
        (state / "sources.list").write_text(listed)
        conf.write_text(
            f'Dir::Etc::sourcelist "{state.resolve()}/sources.list";\nDir::Etc::sourceparts "-";\n'
            f'Dir::State::lists "{state.resolve()}/lists";\n'
            f'Dir::Cache "{state.resolve()}/cache";\nAPT::Sandbox::User "root";\n'
        )
        call(["apt-get", "update", "-q"], scratch, {"APT_CONFIG": str(conf.resolve())})
    return {"APT_CONFIG": str(conf.resolve())}


def _debian(package: Package, scratch: Path, folder: Path) -> None:
    command = ["apt-get", "source", "--download-only", "-q", package.name]
    call(command, scratch, apt_state(scratch, folder))


def debian_file(package: Package, scratch: Path, folder: Path) -> Path | None:
    """The `debian.tar.*` or `diff.gz` of a source package, fetched into `scratch`."""
    command = ["apt-get", "source", "--download-only", "--diff-only", "-q", package.name]
    call(command, scratch, apt_state(scratch, folder))
    found = [*scratch.glob("*.debian.tar.*"), *scratch.glob("*.diff.gz")]
    return found[0] if found else None


def _npm(package: Package, scratch: Path, _folder: Path) -> None:
    pinned = f"{package.name}@{package.version}" if package.version else package.name
    call(["npm", "pack", "--silent", "--ignore-scripts", pinned], scratch)


_CLIENTS = {"pypi": _pypi, "debian": _debian, "npm": _npm}


PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|HPND|Historical Permission|Zlib|curl"
    r"|Unlicense|public domain|PostgreSQL|Libpng|TCL|Repoze|AFL",
    re.I,
)


def fetch_all(packages: list[Package], folder: Path, jobs: int = 6) -> list[tuple[Package, Path]]:
    """Fetch every package; an unpinned one gets its version, licence and sum filled in.

    A package whose licence is not permissive, or that cannot be had, is named and left out.
    """
    from concurrent.futures import ThreadPoolExecutor

    def one(package: Package) -> tuple[Package, Path] | None:
        try:
            pinned, archive = fetch(package, folder)
        except DataError as error:
            print(f"left out {package.source}:{package.name}: {error}", flush=True)
            return None
        said = licence_of(pinned, archive)
        licence = pinned.licence or said
        if not PERMISSIVE.search(licence) or re.search(r"GPL|General Public", licence):
            print(f"left out {package.source}:{package.name}: licence '{licence}'", flush=True)
            return None
        return replace(pinned, licence=licence), archive

    debian_first = sorted(packages, key=lambda p: p.source != "debian")
    if any(p.source == "debian" for p in packages):  # makes apt's state folder, alone
        one(next(p for p in debian_first if p.source == "debian"))
    with ThreadPoolExecutor(jobs) as pool:
        return [done for done in pool.map(one, packages) if done is not None]
