"""Check this installation: versions, processor, backbones, packs, folders, and a self-test."""

from __future__ import annotations

import click

from codeprompt.cli.options import json_option
from codeprompt.cli.output import answer, note, say, size

EXAMPLES = """\b
Examples:
  codeprompt doctor
  codeprompt doctor --json

Nothing of your code is read or shown, so that the output can go into a report as it is.
"""
WRONG = 2


@click.command("doctor", epilog=EXAMPLES)
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: versions, processor, backbones, packs, folders, and a self-test.

    Leaves with status 2 and the reasons where something is wrong.
    """
    from codeprompt.cli import health
    from codeprompt.cli.progress import quiet_libraries

    quiet_libraries()
    versions, processor, folders = health.versions(), health.processor(), health.folders()
    if not as_json:
        say("  ".join(f"{name} {version}" for name, version in versions.items()))
        say("  ".join(f"{name} {_shown(value)}" for name, value in processor.items()))
        for folder in folders:
            say(f"{folder['name']}: {folder['path']} ({size(folder['bytes'])})")
    found = []
    for check in health.checks():
        found.append(check)
        if not as_json:
            say(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    wrong = [check for check in found if not check.ok]
    if as_json:
        answer(
            {
                "ok": not wrong,
                "checks": [check.as_json() for check in found],
                "versions": versions,
                "processor": processor,
                "folders": folders,
            }
        )
    if wrong:
        note("Not well: " + "; ".join(f"{check.name}: {check.detail}" for check in wrong))
        click.get_current_context().exit(WRONG)


def _shown(value: object) -> str:
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


COMMAND = doctor
