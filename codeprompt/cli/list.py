"""List tasks, methods, metrics, backbones, languages, recipes or packs."""

from __future__ import annotations

import click

from codeprompt.cli.catalogue import KINDS
from codeprompt.cli.options import json_option
from codeprompt.cli.output import answer, note, table

EXAMPLES = """\b
Examples:
  codeprompt list methods
  codeprompt list packs --json
"""


@click.command("list", epilog=EXAMPLES)
@click.argument("what", type=click.Choice(list(KINDS)))
@json_option
def list_names(what: str, as_json: bool) -> None:
    """List tasks, methods, metrics, backbones, languages, recipes or packs."""
    items = KINDS[what]()
    if as_json:
        answer({"items": [{"name": name, "summary": summary} for name, summary in items]})
    elif items:
        table(("name", "summary"), items)
    else:
        note(f"There are no {what} here.")


COMMAND = list_names
