"""Turn a pickle-only checkpoint into safetensors, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import click

from codeprompt.cli.options import OUT_FILE, json_option
from codeprompt.cli.output import answer, note, say, size

EXAMPLES = """\b
Examples:
  codeprompt convert microsoft/codebert-base --out backbones/codebert-base
  codeprompt convert downloads/old-checkpoint --out backbones/old --json
  codeprompt tune defect --data devign --backbone backbones/codebert-base --out packs/defect

A pickle can run code when it is read. This command reads one with `weights_only` in a child
process, and nothing else in codeprompt reads any.
"""


@click.command("convert", epilog=EXAMPLES)
@click.argument("checkpoint", metavar="ID|DIR")
@click.option("--out", type=OUT_FILE, required=True, help="The folder to write.")
@click.option("--offline", is_flag=True, help="Never ask a model hub.")
@json_option
def convert_checkpoint(checkpoint: str, out: Path, offline: bool, as_json: bool) -> None:
    """Turn a pickle-only checkpoint into safetensors, in a process of its own.

    The checkpoint is a hub id or a folder; OUT gets its weights, configuration and tokenizer.
    """
    from codeprompt.backbones.convert import convert

    note(f"Reading {checkpoint} ...")
    folder = convert(checkpoint, out, allow_hub=not offline)
    total = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if as_json:
        answer({"out": str(folder), "bytes": total})
        return
    say(f"Wrote {folder} ({size(total)}); use it as --backbone {folder}")


COMMAND = convert_checkpoint
