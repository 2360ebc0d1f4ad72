"""`python -m benchmarks.backbone COMMAND`: the recipe, step by step."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from codeprompt.errors import CodepromptError

FOLDER = click.Path(path_type=Path, file_okay=False)
FAMILY = click.Choice(["t5", "encoder", "translation"])


@click.group()
def main() -> None:
    """Make the built-in backbone from source packages."""


@main.command()
@click.option("--out", type=FOLDER, required=True, help="Downloads, harvest and corpus.jsonl.")
@click.option("--exclude", type=FOLDER, help="Test data to keep out; else the committed hashes.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--only", type=click.Path(path_type=Path, exists=True), help="A file of names.")
def corpus(out: Path, exclude: Path | None, jobs: int, only: Path | None) -> None:
    """Fetch the manifest's packages, or some of them, and harvest their functions."""
    from benchmarks.backbone.corpus import build

    names = frozenset(only.read_text(encoding="utf-8").split()) if only else None
    click.echo(json.dumps(build(out, exclude, names, jobs), indent=1))


@main.command()
@click.option("--data", type=FOLDER, required=True, help="The test data to keep out.")
@click.option("--out", type=click.Path(path_type=Path), help="Else beside this file.")
def block(data: Path, out: Path | None) -> None:
    """Write the hashes by which test data is known without being there."""
    from benchmarks.backbone.blocklist import PATH, Sketches
    from benchmarks.backbone.exclude import texts_of

    found = Sketches.of(texts_of(data))
    found.save(out or PATH)
    click.echo(json.dumps({"functions": len(found.marks), "file": str(out or PATH)}))


@main.command()
@click.option("--out", type=FOLDER, required=True, help="Where `corpus` downloads.")
@click.option("--count", is_flag=True, help="Count what the corpus holds of unfit files: minutes.")
def licences(out: Path, count: bool) -> None:
    """Check the manifest's Debian licences against the packages' copyright files."""
    from benchmarks.backbone.fetch import read_manifest
    from benchmarks.backbone.licences import check, read_after_all, write

    packages = read_manifest()
    found = check(packages, out / "downloads")
    write(found)
    for one in found:
        parts = "; ".join(f"{s.licence}: {' '.join(s.globs)}" for s in one.unfit)
        click.echo(f"{one.package}\t{one.form}\t{one.main}\t{parts[:300]}")
    if count:
        left = read_after_all(packages, out / "downloads", out / "corpus.jsonl")
        click.echo(json.dumps({"functions from unfit files": left.total(), **left}))


@main.command()
@click.option("--out", type=FOLDER, required=True)
def pin(out: Path) -> None:
    """Fill in what the manifest lacks: versions, licences, checksums."""
    from benchmarks.backbone.fetch import fetch_all, read_manifest, write_manifest

    write_manifest([package for package, _ in fetch_all(read_manifest(), out / "downloads")])


@main.command()
@click.option("--corpus", "source", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=FOLDER, required=True)
@click.option("--size", default=16_000, show_default=True, help="Vocabulary, special tokens too.")
@click.option("--tokenizer", "known", type=FOLDER, help="Take this one over: for `train --from`.")
def tokenize(source: Path, out: Path, size: int, known: Path | None) -> None:
    """Learn the tokenizer and write the shards of what `corpus` or `pack` wrote."""
    import shutil

    from benchmarks.backbone import shards, tokenizer
    from benchmarks.backbone.corpus import read_rows

    path = source / "corpus.jsonl" if source.is_dir() else source
    out.mkdir(parents=True, exist_ok=True)
    if known is not None:
        for name in tokenizer.FILES:
            shutil.copy(known / name, out / name)
    else:
        every = 8  # an eighth of the text, some 100 MB, fixes the merges
        rows = (shards.parts(row) for n, row in enumerate(read_rows(path)) if n % every == 0)
        tokenizer.train(tokenizer.texts((r[0], r[1], r[3]) for r in rows), out, size)
    click.echo(json.dumps(shards.write_shards(path, out, out), indent=1))


@main.command()
@click.option("--data", type=FOLDER, required=True, help="CodeXGLUE's code-to-code-trans.")
@click.option("--tokenizer", type=FOLDER, required=True, help="The backbone's folder.")
@click.option("--out", type=FOLDER, required=True)
def pairs(data: Path, tokenizer: Path, out: Path) -> None:
    """Tokenise translation pairs, for `train --family translation`."""
    from benchmarks.backbone.translation import write_pairs

    click.echo(json.dumps(write_pairs(data, tokenizer, out), indent=1))


@main.command()
@click.option("--corpus", "source", type=FOLDER, required=True, help="What `corpus` wrote.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A .jsonl.xz file.")
@click.option("--limit", default=60_000_000, show_default=True, help="Bytes.")
def pack(source: Path, out: Path, limit: int) -> None:
    """Pack the corpus into one small file, for a machine that can be given little."""
    from benchmarks.backbone.pack import pack as write

    click.echo(json.dumps(write(source / "corpus.jsonl", out, limit)))


@main.command()
@click.option("--preset", default="cpu", show_default=True, type=click.Choice(["cpu", "gpu"]))
@click.option("--family", default="t5", show_default=True, type=FAMILY)
@click.option("--data", type=FOLDER, required=True, help="What `tokenize` wrote.")
@click.option("--out", type=FOLDER, required=True)
@click.option("--from", "start", type=FOLDER, help="Weights to start from: a run or a backbone.")
@click.option("--minutes", type=float, help="All the time the run may take; resuming goes on.")
@click.option("--segment", type=float, help="Stop after so many minutes, to be resumed.")
@click.option("--hidden-rate", type=float)
@click.option("--other-rate", type=float)
@click.option("--decay", type=float, help="The last share of the minutes, over which rates fall.")
@click.option("--threads", type=int)
@click.option(
    "--resume", is_flag=True, help="Go on from the newest checkpoint, where there is one."
)
def train(
    preset: str,
    family: str,
    data: Path,
    out: Path,
    start: Path | None,
    segment: float | None,
    resume: bool,
    **changes: float | None,
) -> None:
    """Pre-train until the minutes are used up."""
    from benchmarks.backbone.presets import FAMILIES, continued
    from benchmarks.backbone.train import Run

    given = {key: value for key, value in changes.items() if value is not None}
    if preset not in FAMILIES[family]:
        raise click.UsageError(f"{family} has no preset {preset}")
    chosen = continued(FAMILIES[family][preset]) if start else FAMILIES[family][preset]
    run = Run(replace(chosen, **given), data, out, resume, start)  # type: ignore[arg-type]
    done = run.go(segment)
    click.echo(json.dumps({"done": done, "minutes": round(run.elapsed / 60, 2)}))


@main.command()
@click.option("--from", "source", type=FOLDER, required=True, help="A checkpoint or a run.")
@click.option("--out", type=FOLDER, required=True)
def export(source: Path, out: Path) -> None:
    """Write the folder that ships."""
    from benchmarks.backbone.export import export as write

    click.echo(json.dumps(write(source, out), indent=1))


@main.command()
@click.option("--from", "source", type=FOLDER, required=True, help="A translation run.")
@click.option("--data", type=FOLDER, required=True, help="CodeXGLUE's code-to-code-trans.")
@click.option("--out", type=FOLDER, required=True, help="Where packs stand.")
@click.option("--dev", default=400, show_default=True, help="Rows of valid that are scored.")
@click.option("--beams", default=4, show_default=True, help="By which the packs answer.")
def packs(source: Path, data: Path, out: Path, dev: int, beams: int) -> None:
    """Write the two translation packs."""
    from benchmarks.backbone.packs import write

    for made in write(source, data, out, dev, beams):
        click.echo(json.dumps(made))


@main.command()
@click.option("--backbone", default="builtin", show_default=True)
@click.option("--data", type=FOLDER, required=True, help="The folder with csn_python and the rest.")
@click.option("--split", default="valid", show_default=True, type=click.Choice(["valid", "test"]))
@click.option("--corpus", type=FOLDER, help="What `corpus` wrote: for the nearest neighbour.")
@click.option("--rows", default=0, show_default=True, help="So many fixed rows; 0 for all.")
@click.option("--out", type=click.Path(path_type=Path), help="The results file.")
@click.option("--threads", default=1, show_default=True)
def score(
    backbone: str,
    data: Path,
    split: str,
    corpus: Path | None,
    rows: int,
    out: Path | None,
    threads: int,
) -> None:
    """Score a backbone by its hard prompt, beside what needs no backbone."""
    import torch

    from benchmarks.backbone import score as scoring

    torch.set_num_threads(threads)
    pairs = corpus / "corpus.jsonl" if corpus else None
    kept = scoring.score(backbone, data, split, pairs, rows, out)
    click.echo(scoring.table(kept), err=True)
    click.echo(json.dumps({k: kept[k] for k in ("split", "count", "summaries")}))


@main.command()
@click.argument("pack", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Where packs stand.")
def ship(pack: Path, out: Path) -> None:
    """Put a tuned pack among those that ship, with its data's licence on its card."""
    from benchmarks.backbone.packs import ship as put

    click.echo(str(put(pack, out)))


@main.command()
def targets() -> None:
    """Print what was to be reached beside what was measured, from the results files."""
    from benchmarks.backbone.targets import table

    click.echo(table())


@main.command()
@click.option("--backbone", required=True, help="A backbone in its folder: builtin-N or a path.")
def card(backbone: str) -> None:
    """Put the scores that `score` stored for these weights on their card."""
    from benchmarks.backbone.card import add_scores
    from benchmarks.backbone.score import RESULTS, exact_name
    from codeprompt.backbones.checkpoint import resolve

    results = [RESULTS / f"backbone-{split}.json" for split in ("valid", "test")]
    title = f"{exact_name(backbone)}, hard prompt"
    made = add_scores(resolve(backbone, allow_hub=False), results, title)
    click.echo(json.dumps(made["scores"], indent=1))


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except CodepromptError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
