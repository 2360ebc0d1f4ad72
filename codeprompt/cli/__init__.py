"""The command line: one file per command, imported only when it runs.

A command's file defines `COMMAND`; the first line of its docstring is its summary in `--help`.
Answers go to stdout (one JSON object on one line with `--json`), progress and messages to stderr.
Status 0, 2 for a mistake of the user's with one paragraph on stderr, 130 after Ctrl-C, 1 for a
fault of ours (and for `check`, where a finding reaches `--fail-on`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its status."""
    from codeprompt.cli.app import APP
    from codeprompt.waiting import wait_briefly

    wait_briefly()
    APP.main(None if arguments is None else list(arguments), prog_name="codeprompt")
    raise SystemExit(0)  # not reached: APP.main exits
