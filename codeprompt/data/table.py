"""Rows from files: JSON Lines, JSON, CSV, TSV, Parquet, and texts aligned line by line."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from codeprompt.errors import DataError
from codeprompt.languages import language_of

OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
LONGEST_CELL = 1 << 27


def table_kind(path: Path) -> str:
    """`.jsonl`, `.csv`, ... of a file, under any compression; "" for none we read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in TABLES else ""


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, one at a time. Raises `DataError` that names the line at fault."""
    kind = table_kind(path)
    if not path.stat().st_size:
        raise DataError(f"{path} is empty", expected="at least one row")
    try:
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".json":
            yield from _json(path)
        elif kind in (".csv", ".tsv"):
            yield from _csv(path, "," if kind == ".csv" else "\t")
        else:
            yield from _jsonl(path)
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked: {error}", do="Fetch or write the file again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def text_partners(path: Path) -> list[Path]:
    """Files that differ from `path` in their language's extension only, `path` among them."""
    language = language_of(path)
    if language is None or not path.parent.is_dir():
        return []
    found = {
        other
        for other in path.parent.iterdir()
        if other.stem == path.stem and language_of(other) is not None and other.is_file()
    }
    return sorted(found) if len({language_of(other) for other in found}) > 1 else []


def read_texts(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Line k of every file as one row; columns are the extensions (`java`, `cs`)."""
    lines = {path.suffix.lower()[1:]: list(_lines(path)) for path in paths}
    counts = {name: len(part) for name, part in lines.items()}
    if len(set(counts.values())) != 1:
        raise DataError(
            f"{paths[0].parent / paths[0].stem}: the texts have "
            + " and ".join(f"{count} lines (.{name})" for name, count in counts.items()),
            expected="line k of one to be the translation of line k of the other",
        )
    for row in zip(*lines.values(), strict=True):
        yield dict(zip(lines, row, strict=True))


def same_length(paths: list[Path]) -> bool:
    """Whether the files have equally many lines, more than one."""
    counts = {len(path.read_bytes().rstrip(b"\r\n").split(b"\n")) for path in paths}
    return len(counts) == 1 and min(counts) > 1


def _open(path: Path) -> IO[bytes]:
    opener: Callable[..., Any] = OPENERS.get(path.suffix.lower(), open)
    opened: IO[bytes] = opener(path, "rb")
    return opened


def _decode(data: bytes, path: Path, line: int) -> str:
    if b"\0" in data:
        raise DataError(f"{path} is binary: line {line} has a NUL byte", expected="text as UTF-8")
    try:
        return data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"Line {line} of {path} is not UTF-8 (byte 0x{data[error.start]:02x} at column "
            f"{error.start + 1})",
            expected="text as UTF-8",
            do="Convert the file, e.g. with `iconv -f latin1 -t utf-8`",
        ) from error


def _lines(path: Path) -> Iterator[str]:
    """Lines parted by line feeds alone: code may hold any other separator."""
    with _open(path) as file:
        for number, data in enumerate(file, start=1):
            yield _decode(data, path, number).rstrip("\r\n")


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"Line {number} of {path} is not JSON: {error}",
                expected='one object a line, like {"code": "...", "summary": "..."}',
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"Line {number} of {path} is a JSON {type(row).__name__}",
                expected="an object, with the columns as its keys",
            )
        yield row


def _json(path: Path) -> Iterator[dict[str, Any]]:
    with _open(path) as file:
        text = _decode(file.read(), path, 1)
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON: {error}",
            do="Name it .jsonl if it holds one object a line",
        ) from error
    if isinstance(found, dict):
        found = next((found[key] for key in ("data", "rows", "examples") if key in found), found)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError(f"{path} is not a list of objects", expected='[{"code": "...", ...}, ...]')
    yield from found


def _csv(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LONGEST_CELL)
    with _open(path) as file:
        decoded = (_decode(data, path, number) for number, data in enumerate(file, start=1))
        reader = csv.DictReader(decoded, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if None in row:
                    raise DataError(
                        f"Line {reader.line_num} of {path} has more cells than the header's "
                        f"{len(reader.fieldnames or ())}",
                        do="Put cells with a separator or a line break in double quotes",
                    )
                yield row
        except csv.Error as error:
            number = reader.reader.line_num
            raise DataError(f"Line {number} of {path} is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise DataError(f"{path} is not Parquet: {error}") from error
