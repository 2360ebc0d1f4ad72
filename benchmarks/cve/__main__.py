"""`python -m benchmarks.cve`: mine vulnerable functions from Debian's CVE patches.

    python -m benchmarks.cve mine --out ../shared/data/debian_cve     # what the manifest names
    python -m benchmarks.cve pin NAME...                              # add packages to it

Rows go to a folder of the user's: the functions stay under their projects' licences (the manifest
names each), and none of them is part of this repository. Projects never fall into two splits.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.cve.fetch import (
    MANIFEST,
    Source,
    fetch,
    fetch_debian,
    read_manifest,
    ready,
    write_manifest,
)
from benchmarks.cve.mine import Row, mine, series, sources, touches_c
from codeprompt.data.dedupe import near_duplicates
from codeprompt.data.sources import open_source
from codeprompt.errors import DataError
from codeprompt.files import write_text
from codeprompt.metrics.base import Item
from codeprompt.registry import TASKS
from codeprompt.training.evaluate import items_of
from codeprompt.types import Example

CACHE = Path(tempfile.gettempdir()) / "codeprompt-cve"
NOT_THESE = ("ffmpeg", "qemu", "libav")
"""Devign's own projects: its rows must stay unseen."""
STATS = Path(__file__).with_name("stats.json")
SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


@click.group()
def main() -> None:
    """Vulnerable functions and the lines that their fixes changed."""


@main.command("pin")
@click.argument("names", nargs=-1, required=True)
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
@click.option("--jobs", type=click.IntRange(1, 8), default=4, show_default=True)
def pin(names: tuple[str, ...], cache: Path, jobs: int) -> None:
    """Add packages to the manifest: those that have CVE patches of C files, with their sums."""
    known = {one.name: one for one in read_manifest()} if MANIFEST.is_file() else {}
    new = [Source(n) for n in names if n not in known and n not in NOT_THESE]
    ready(cache)
    with ThreadPoolExecutor(jobs) as pool:
        for name, found in zip((s.name for s in new), pool.map(_looker(cache), new), strict=True):
            if found is not None:
                known[name] = found
    write_manifest(sorted(known.values(), key=lambda one: one.name))
    click.echo(f"{MANIFEST.name} names {len(known)} packages")


@main.command("mine")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the split.")
def mine_all(out: Path, cache: Path, seed: int) -> None:
    """Write train, valid and test rows of all that the manifest names, and what was left out."""
    counts: Counter[str] = Counter()
    rows: list[Row] = []
    for source in read_manifest():
        _, archives = fetch(source, cache)
        texts = sources(archives.orig)
        found = list(mine(source.name, source.version, texts, series(archives.debian), counts))
        click.echo(f"{source.name} {source.version}: {len(found)} rows")
        rows += found
    kept = _distinct(rows, counts)
    parts = split(kept, seed)
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        lines = (json.dumps(row.as_json(), sort_keys=True) for row in part)
        write_text(out / f"{name}.jsonl", "\n".join(lines) + "\n")
    told = stats(parts, counts)
    write_text(STATS, json.dumps(told, indent=2, sort_keys=True) + "\n")
    click.echo(json.dumps(told, indent=2, sort_keys=True))


@main.command("score")
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--pack", "packs", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--split", "part", default="test", show_default=True)
def score(data: Path, packs: tuple[Path, ...], part: str) -> None:
    """The task's metrics for rankings that need no model, and for packs, on a split."""
    from benchmarks.cve import score as ways

    source = open_source(str(data), TASKS.get("localize").columns)
    train, rows = source.split("train"), source.split(part)
    found = {"random": {name: f"{value:.3g}" for name, value in ways.chance(rows).items()}}
    rankings = {"first": ways.first, "longest": ways.longest, "words": ways.words(train)}
    items = {name: ways.items_by(rows, way) for name, way in rankings.items()}
    items |= {pack.name: _answers(pack, rows) for pack in packs}
    for name, own in items.items():
        found[name] = {
            s.metric: f"{s.value:.3g} [{s.low:.3g}, {s.high:.3g}]" for s in ways.scores_of(own)
        }
    metrics = list(found["random"])
    click.echo(f"| {len(rows)} functions | " + " | ".join(metrics) + " |")
    click.echo("|---" * (len(metrics) + 1) + "|")
    for name, values in found.items():
        click.echo(f"| {name} | " + " | ".join(values[m] for m in metrics) + " |")


def _answers(pack: Path, rows: Sequence[Example]) -> list[Item]:
    from codeprompt.engine import Engine, Request
    from codeprompt.pack import load

    read = load(pack)
    with Engine(read.card.backbone.name, precision="float32") as engine:
        name = engine.load(read)
        found = engine.predict([Request(name, row.fields) for row in rows])
    return items_of(rows, found)


def split(rows: list[Row], seed: int) -> dict[str, list[Row]]:
    """Whole projects to each part, the shares as near as they can be."""
    by_project: dict[str, list[Row]] = {}
    for row in rows:
        by_project.setdefault(row.package, []).append(row)
    order = sorted(by_project)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(by_project[name]))  # stable: large ones first
    parts: dict[str, list[Row]] = {name: [] for name in SHARES}
    for name in order:
        short = max(SHARES, key=lambda part: SHARES[part] - len(parts[part]) / max(1, len(rows)))
        parts[short] += by_project[name]
    return parts


def stats(parts: dict[str, list[Row]], counts: Counter[str]) -> dict[str, object]:
    """What the split holds, in numbers."""
    out: dict[str, object] = {"left out": dict(counts)}
    for name, rows in parts.items():
        sizes = sorted(row.code.count("\n") + 1 for row in rows)
        kinds = Counter(kind for row in rows for kind in row.kinds)
        out[name] = {
            "rows": len(rows),
            "projects": len({row.package for row in rows}),
            "CVEs": len({row.cve for row in rows}),
            "lines of the median function": sizes[len(sizes) // 2] if sizes else 0,
            "lines to blame, mean": round(_mean(len(row.lines) for row in rows), 2),
            "share of a function": round(
                _mean(len(r.lines) / (r.code.count("\n") + 1) for r in rows), 4
            ),
            "lines changed": kinds["changed"],
            "lines where a fix only adds": kinds["added"],
        }
    return out


def _distinct(rows: list[Row], counts: Counter[str]) -> list[Row]:
    """One row for each vulnerable function, near copies (a later patch of it) left out."""
    dropped = set(near_duplicates([row.code for row in rows]))
    counts["near copies of an earlier row"] += len(dropped)
    return [row for index, row in enumerate(rows) if index not in dropped]


def _looker(cache: Path):  # type: ignore[no-untyped-def]
    return lambda source: _look(source, cache)


def _look(source: Source, cache: Path) -> Source | None:
    try:
        if not touches_c(series(fetch_debian(source, cache))):
            click.echo(f"left out {source.name}: no CVE patch of a C file")
            return None
        found, _ = fetch(source, cache)
    except DataError as error:
        click.echo(f"left out {source.name}: {error}")
        return None
    click.echo(f"{found.name} {found.version}: {found.licence}")
    return found


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / max(1, len(found))


if __name__ == "__main__":
    main()
