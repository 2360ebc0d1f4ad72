"""Check this installation and the engine: versions, packs, self-test, socket, database, disk."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from codeprompt.cli.options import OUT_FILE, json_option
from codeprompt.cli.output import answer, note, plain, say, size

EXAMPLES = """\b
Examples:
  codeprompt doctor
  codeprompt doctor --json
  codeprompt doctor --bundle report.zip

Nothing of your code is read or shown, so that the output can go into a report as it is. A bundle
holds the same with the engine's log, counters and the hashes of packs: no source text, no token.
"""
WRONG = 2


@click.command("doctor", epilog=EXAMPLES)
@click.option("--bundle", type=OUT_FILE, metavar="FILE.zip", help="Write a bug report there, too.")
@json_option
def doctor(bundle: Path | None, as_json: bool) -> None:
    """Check this installation and the engine: versions, packs, self-test, socket, database, disk.

    Leaves with status 2 and the reasons where something is wrong.
    """
    from codeprompt.cli import deployment, health
    from codeprompt.cli.progress import quiet_libraries
    from codeprompt.client import state
    from codeprompt.client.address import Home

    quiet_libraries()
    home = Home.own()
    engine = state(home)
    versions, processor, folders = health.versions(), health.processor(), health.folders()
    if not as_json:
        say("  ".join(f"{name} {version}" for name, version in versions.items()))
        say("  ".join(f"{name} {_shown(value)}" for name, value in processor.items()))
        for folder in folders:
            say(f"{folder['name']}: {folder['path']} ({size(folder['bytes'])})")
    found = []
    for check in chain(health.checks(), deployment.checks(home, engine)):
        found.append(check)
        if not as_json:
            say(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    wrong = [check for check in found if not check.ok]
    report = {
        "ok": not wrong,
        "checks": [check.as_json() for check in found],
        "versions": versions,
        "processor": processor,
        "folders": folders,
    }
    if bundle is not None:
        from codeprompt.cli.bundle import write

        names = write(bundle.expanduser(), plain(report), home, engine)
        note(f"Wrote {bundle}: {', '.join(names)}")
    if as_json:
        answer(report)
    if wrong:
        note("Not well: " + "; ".join(f"{check.name}: {check.detail}" for check in wrong))
        click.get_current_context().exit(WRONG)


def _shown(value: object) -> str:
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


COMMAND = doctor
