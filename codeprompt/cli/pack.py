"""Show, verify, list, export and import packs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codeprompt.cli.options import BACKBONE, OUT_FILE, PACK, Name, json_option
from codeprompt.cli.output import answer, note, number, say, size, table
from codeprompt.cli.pack_plot import check_plot
from codeprompt.cli.pack_plot import plot as draw
from codeprompt.cli.pack_vectors import say_vectors, vectors_of
from codeprompt.registry import TASKS

if TYPE_CHECKING:
    from codeprompt.pack import Card

NEAREST = 3
"""Nearest tokens of a vector where the user gives no number."""
EXAMPLES = """\b
Examples:
  codeprompt pack list
  codeprompt pack show packs/summarize
  codeprompt pack show packs/summarize --tokens 5
  codeprompt pack show packs/summarize --inputs src/server.py --plot vectors.png
  codeprompt pack verify packs/summarize --backbone builtin
  codeprompt pack export-peft packs/summarize --out adapters/summarize
  codeprompt pack import-peft adapters/mine --task summarize --backbone DIR --out packs/mine

PACK is a path, or a name in .codeprompt/packs, in the user's data folder or in the package.
"""


@click.group("pack", epilog=EXAMPLES)
def pack_group() -> None:
    """Show, verify, list, export and import packs."""


@pack_group.command("list", epilog="\b\nExample:\n  codeprompt pack list --json")
@json_option
def list_packs(as_json: bool) -> None:
    """List the packs that a name finds: the project's, the user's, the package's."""
    from codeprompt.cli.catalogue import packs
    from codeprompt.pack import available

    paths = {name: path for name, path, _ in available()}
    items = packs()
    if as_json:
        answer(
            {"items": [{"name": n, "summary": s, "path": str(paths.get(n, ""))} for n, s in items]}
        )
    elif items:
        table(("name", "summary", "path"), [(n, s, paths.get(n, "")) for n, s in items])
    else:
        note(
            "There are no packs here. `codeprompt tune ... --out .codeprompt/packs/NAME` makes one."
        )


@pack_group.command("show", epilog="\b\nExample:\n  codeprompt pack show packs/summarize --json")
@click.argument("pack", type=PACK)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    metavar="K",
    help="Also every soft vector and column: the K nearest tokens, the norm, and the attention "
    "that inputs give to it (loads the backbone).",
)
@click.option(
    "--inputs",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Source files whose functions are the inputs, in place of four samples.",
)
@click.option("--plot", type=OUT_FILE, metavar="FILE.png", help="The same as a picture, or .svg.")
@click.option("--backbone", type=BACKBONE, help="Where the backbone lies now, if moved.")
@json_option
def show(
    pack: str,
    tokens: int | None,
    inputs: tuple[str, ...],
    plot: Path | None,
    backbone: str | None,
    as_json: bool,
) -> None:
    """Show what a pack is: its card, in short or whole (--json); with --tokens its vectors too."""
    import msgspec

    from codeprompt.check.questions import read_source
    from codeprompt.pack import find
    from codeprompt.pack.card import decode

    folder = find(pack)
    card = decode(read_source(folder / "card.json"), str(folder / "card.json"))
    if plot:
        check_plot(plot)
    looked = tokens or inputs or plot
    found = vectors_of(folder, card, tokens or NEAREST, backbone, inputs) if looked else {}
    if plot:
        draw(found, card.name, plot)
    if as_json:
        answer({**msgspec.to_builtins(card), "path": str(folder), **found})
        return
    for name, value in _about(card, folder):
        say(f"{name:<12} {value}")
    if looked:
        say_vectors(found, bool(inputs))
    if plot:
        note(f"Wrote {plot}")


@pack_group.command("verify", epilog="\b\nExample:\n  codeprompt pack verify packs/summarize")
@click.argument("pack", type=PACK)
@click.option("--backbone", type=BACKBONE, help="Check that the pack was made for this one too.")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def verify(pack: str, backbone: str | None, offline: bool, as_json: bool) -> None:
    """Check that a pack is whole and unchanged, and fits its backbone.

    The hash on the card covers card and tensors. It finds what was cut or changed; it does not
    prove who wrote it.
    """
    from codeprompt.pack import check_backbone, load

    found = load(pack, verify=True)
    if backbone:
        from codeprompt.backbones.load import load_backbone

        check_backbone(found, load_backbone(backbone, allow_hub=not offline))
    if as_json:
        answer(
            {
                "ok": True,
                "pack": str(found.path),
                "integrity": found.card.integrity,
                "backbone": backbone,
            }
        )
        return
    fits = f", and it fits {backbone}" if backbone else ""
    say(f"{found.path} is whole and unchanged ({found.card.integrity[:12]}){fits}")


@pack_group.command(
    "export-peft", epilog="\b\nExample:\n  codeprompt pack export-peft packs/s --out adapters/s"
)
@click.argument("pack", type=PACK)
@click.option("--out", type=OUT_FILE, required=True, help="The folder to write.")
@click.option("--backbone", type=BACKBONE, help="Where the backbone lies now, if moved.")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def export(pack: str, out: Path, backbone: str | None, offline: bool, as_json: bool) -> None:
    """Write a pack as a `peft` checkpoint; what `peft` cannot express is refused."""
    from codeprompt.backbones.load import load_backbone
    from codeprompt.pack import export_peft, load

    found = load(pack)
    model = load_backbone(backbone or found.card.backbone.name, allow_hub=not offline)
    written = export_peft(found, model, out)
    if as_json:
        answer({"out": str(written)})
    else:
        say(f"Wrote {written}; how to feed it is in its README.md")


@pack_group.command(
    "import-peft",
    epilog="\b\nExample:\n"
    "  codeprompt pack import-peft adapters/mine --task summarize --backbone DIR --out packs/mine",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--task", type=Name(TASKS), help="What it was trained for, if it does not say.")
@click.option("--backbone", type=BACKBONE, required=True, help="The backbone it was trained on.")
@click.option("--out", type=OUT_FILE, required=True, metavar="PACK", help="The folder to write.")
@click.option("--template", help="The hard template it was trained in. [default: the task's own]")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def import_(
    folder: Path,
    task: str | None,
    backbone: str,
    out: Path,
    template: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Make a pack of a `peft` checkpoint: prompt tuning, prefix tuning, LoRA, IA3."""
    from codeprompt.backbones.load import load_backbone
    from codeprompt.pack import check_target, import_peft, save

    check_target(out)
    model = load_backbone(backbone, allow_hub=not offline)
    found = import_peft(folder, model, task=task, template=template, name=out.name)
    written = save(found, out)
    if as_json:
        answer({"pack": str(written), "method": found.card.method, "task": found.card.task})
    else:
        say(f"Wrote {written}: {found.card.method} for {found.card.task}")


def _about(card: Card, folder: Path) -> list[tuple[str, str]]:
    total = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    data = card.data
    rows = [
        ("pack", f"{card.name} ({folder}, {size(total)})"),
        ("task", card.task),
        ("method", f"{card.method} ({card.parameters:,} trained parameters)"),
        ("holds", "a prompt" if card.holds == "prompt" else "the weights of a tuned backbone"),
        ("backbone", f"{card.backbone.name} ({card.backbone.family}, {card.backbone.hash[:12]})"),
        ("template", card.template),
        ("data", f"{data.where or 'not said'}: {data.rows} rows, dev {data.dev_rows}"),
        (
            "seed",
            f"{card.seed}" + (f", the best of {len(card.seeds)}" if len(card.seeds) > 1 else ""),
        ),
    ]
    spoken = [named for named in (data.languages, data.target_languages) if isinstance(named, list)]
    if spoken:
        rows.insert(-1, ("languages", " to ".join(", ".join(named) for named in spoken)))
    if card.licence.weights or card.licence.data:
        told = (("weights", card.licence.weights), ("data", card.licence.data))
        rows.append(("licence", "; ".join(f"{of}: {what}" for of, what in told if what)))
    if card.labels:
        rows.append(("labels", f"{', '.join(card.labels)} (positive: {card.positive})"))
    if card.threshold is not None:
        rows.append(("threshold", f"{card.threshold:.3f}"))
    for score in card.scores:
        value = "undefined" if score.value is None else number(score.value)
        low, high = score.interval or (None, None)
        around = f" [{number(low)}, {number(high)}]" if low is not None and high is not None else ""
        rows.append(("score", f"{score.split} {score.metric} {value}{around} (n = {score.n})"))
    rows.append(("made", f"{card.created} with codeprompt {card.versions.codeprompt}"))
    return rows


COMMAND = pack_group
