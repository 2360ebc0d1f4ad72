"""`python -m benchmarks.backbone corpus|tokenize|train|export`: the recipe, step by step."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from codeprompt.errors import CodepromptError

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def main() -> None:
    """Make the built-in backbone from source packages."""


@main.command()
@click.option("--out", type=FOLDER, required=True, help="Downloads, harvest and corpus.jsonl.")
@click.option("--exclude", type=FOLDER, help="Data that must stay out of the training text.")
@click.option("--jobs", default=2, show_default=True)
def corpus(out: Path, exclude: Path | None, jobs: int) -> None:
    """Fetch the manifest's packages and harvest their functions."""
    from benchmarks.backbone.corpus import build

    click.echo(json.dumps(build(out, exclude, jobs=jobs), indent=1))


@main.command()
@click.option("--out", type=FOLDER, required=True)
def pin(out: Path) -> None:
    """Fill in what the manifest lacks: versions, licences, checksums."""
    from benchmarks.backbone.fetch import fetch_all, read_manifest, write_manifest

    write_manifest([package for package, _ in fetch_all(read_manifest(), out / "downloads")])


@main.command()
@click.option("--corpus", "source", type=FOLDER, required=True, help="What `corpus` wrote.")
@click.option("--out", type=FOLDER, required=True)
@click.option("--size", default=16_000, show_default=True, help="Vocabulary, special tokens too.")
def tokenize(source: Path, out: Path, size: int) -> None:
    """Learn the tokenizer and write the shards."""
    from benchmarks.backbone import shards, tokenizer
    from benchmarks.backbone.corpus import read_rows

    path = source / "corpus.jsonl"
    every = 8  # an eighth of the text, some 100 MB, fixes the merges
    rows = (shards.parts(row) for n, row in enumerate(read_rows(path)) if n % every == 0)
    tokenizer.train(tokenizer.texts((r[0], r[1], r[3]) for r in rows), out, size)
    click.echo(json.dumps(shards.write_shards(path, out, out), indent=1))


@main.command()
@click.option("--preset", default="cpu", show_default=True, type=click.Choice(["cpu"]))
@click.option("--data", type=FOLDER, required=True, help="What `tokenize` wrote.")
@click.option("--out", type=FOLDER, required=True)
@click.option("--minutes", type=float, help="All the time the run may take; resuming goes on.")
@click.option("--hidden-rate", type=float)
@click.option("--other-rate", type=float)
@click.option("--threads", type=int)
@click.option("--resume", is_flag=True)
def train(preset: str, data: Path, out: Path, resume: bool, **changes: float | None) -> None:
    """Pre-train until the minutes are used up."""
    from benchmarks.backbone.train import PRESETS, Run

    given = {key: value for key, value in changes.items() if value is not None}
    Run(replace(PRESETS[preset], **given), data, out, resume).go()  # type: ignore[arg-type]


@main.command()
@click.option("--from", "source", type=FOLDER, required=True, help="A checkpoint or a run.")
@click.option("--out", type=FOLDER, required=True)
def export(source: Path, out: Path) -> None:
    """Write the folder that ships."""
    from benchmarks.backbone.export import export as write

    click.echo(json.dumps(write(source, out), indent=1))


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except CodepromptError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
