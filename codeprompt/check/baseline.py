"""A baseline: fingerprints of findings that are known, so that only new ones are reported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from codeprompt.errors import DataError
from codeprompt.files import write_bytes

VERSION = 1


class Baseline(msgspec.Struct, frozen=True):
    """The file's content; `fingerprints` is sorted, so that a diff shows what changed."""

    version: int
    fingerprints: tuple[str, ...]


def read_baseline(path: Path) -> frozenset[str]:
    """Known fingerprints. Raises `DataError` for a file that is missing or no baseline."""
    write = "Write one with --write-baseline FILE"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"The baseline {path} cannot be read: {error.strerror or error}", do=write
        ) from error
    try:
        found = msgspec.json.decode(data, type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a baseline: {error}", do=write) from error
    if found.version != VERSION:
        raise DataError(
            f"{path} is a baseline of version {found.version}",
            expected=f"version {VERSION}",
            do=write,
        )
    return frozenset(found.fingerprints)


def write_baseline(path: Path, fingerprints: Iterable[str]) -> None:
    """Write a baseline, whole or not at all."""
    found = Baseline(VERSION, tuple(sorted(set(fingerprints))))
    write_bytes(path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
