"""Start, show and stop the engine in the background."""

from __future__ import annotations

import time
from typing import Any

import click

from codeprompt.cli.options import json_option
from codeprompt.cli.output import answer, duration, note, say, size
from codeprompt.cli.serve import engine_settings

EXAMPLES = """\b
Examples:
  codeprompt engine start
  codeprompt engine start --precision int8 --idle-exit 7200
  codeprompt engine status --json
  codeprompt engine stop

Editors and `codeprompt.client.connect()` start the engine by themselves; it leaves when nobody has
asked for anything for half an hour. `codeprompt serve` is the same in the foreground.
"""
IDLE_SECONDS = 1800.0
ABSENT = 1


@click.group("engine", epilog=EXAMPLES)
def engine() -> None:
    """Start, show and stop the engine in the background."""


@engine.command("start", epilog="\b\nExample:\n  codeprompt engine start --json")
@click.option(
    "--idle-exit",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=IDLE_SECONDS,
    show_default=True,
    help="Leave when nobody has asked for anything so long; 0: never.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="To wait until it answers.",
)
@engine_settings
@json_option
def start_engine(timeout: float, as_json: bool, **options: Any) -> None:
    """Start the engine, unless one of this version runs already.

    Options are for an engine that is started; one that runs keeps its own.
    """
    from codeprompt.client import start

    found, begun = start(_words(options), timeout=timeout)
    if as_json:
        answer({**found.as_json(), "begun": begun})
        return
    say(f"{'Started' if begun else 'It runs already'}: process {found.pid} at {found.address}")
    note(f"Its log is {found.home.log}")


@engine.command("status", epilog="\b\nExample:\n  codeprompt engine status --json")
@json_option
def status(as_json: bool) -> None:
    """Show whether an engine runs, and what it does. Leaves with status 1 where none does."""
    from codeprompt.client import Client, state
    from codeprompt.errors import CodepromptError

    found = state()
    more: dict[str, Any] = {}
    if found.health is not None and found.address is not None:
        try:
            with Client(found.address) as client:
                more = client.status()
        except CodepromptError as error:  # it may just be leaving
            note(str(error))
    if as_json:
        answer({**more, **found.as_json()})
    elif not found.running:
        say("No engine runs.")
    else:
        _show(found.as_json(), more)
    if not found.running:
        click.get_current_context().exit(ABSENT)


@engine.command("stop", epilog="\b\nExample:\n  codeprompt engine stop")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="To finish requests and write checkpoints; then it is killed.",
)
@json_option
def stop_engine(timeout: float, as_json: bool) -> None:
    """Stop the engine: what is in flight is answered, tuning jobs go on at the next start."""
    from codeprompt.client import stop

    ended = stop(timeout=timeout)
    if as_json:
        answer({"stopped": ended})
    else:
        say("Stopped." if ended else "No engine ran.")


def _words(options: dict[str, Any]) -> list[str]:
    """Options as `codeprompt serve` takes them."""
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def _show(found: dict[str, Any], more: dict[str, Any]) -> None:
    since = f", up {duration(time.time() - found['started'])}" if found["started"] else ""
    say(f"Runs: process {found['pid']}, version {found['version'] or '?'}{since}")
    say(f"  address  {found['address']}")
    say(f"  state    {found['home']}")
    say(f"  log      {found['log']}")
    if not found["answers"]:
        say("  It does not answer yet, or no more.")
    if not more:
        return
    ready = "ready" if more.get("ready") else "leaving" if more.get("draining") else "loading"
    say(f"  {ready}, {more.get('in_flight', 0)} requests in flight, {more.get('packs', 0)} packs")
    for backbone in more.get("backbones", []):
        name, used = backbone.get("name", "?"), backbone.get("bytes", backbone.get("memory", 0))
        say(f"  backbone {name} ({size(used)})")
    if any(more.get("jobs", {}).values()):
        say("  jobs     " + ", ".join(f"{n} {kind}" for kind, n in more["jobs"].items() if n))


COMMAND = engine
