"""Make one HTML page of what `codeprompt bench` left in RUN."""

from __future__ import annotations

from pathlib import Path

import click

from codeprompt.cli.options import json_option
from codeprompt.cli.output import answer, say

EXAMPLES = """\b
Examples:
  codeprompt report bench-smoke
  codeprompt report runs/low --out low.html --no-examples
  codeprompt report runs/before runs/after --out both.html
"""


@click.command("report", epilog=EXAMPLES)
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="RUN...",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="The page. [default: RUN.html]",
)
@click.option(
    "--examples/--no-examples",
    default=True,
    show_default=True,
    help="A few rows of the data with their answers; not for data that may not be passed on.",
)
@click.option(
    "--files/--no-files",
    default=True,
    show_default=True,
    help="Figures (SVG, PNG) and tables (CSV, Markdown, LaTeX) too, in FILE-files.",
)
@json_option
def report(
    runs: tuple[Path, ...], out: Path | None, examples: bool, files: bool, as_json: bool
) -> None:
    """Make one HTML page of what `codeprompt bench` left in RUN.

    Curves, differences with their intervals, costs, calibration, sortable tables, examples. Several
    runs get a leaderboard first, and two of them every arm side by side. A run that is still going
    can be reported as far as it is.
    """
    from codeprompt.bench.report import write_report

    page = out or Path(f"{runs[0].resolve().name}.html")
    written = write_report(runs, page, examples=examples, files=files)
    if as_json:
        answer({"page": str(page), "files": [str(path) for path in written]})
        return
    more = f", and {len(written) - 1} files in {page.stem}-files" if len(written) > 1 else ""
    say(f"Wrote {page}{more}")


COMMAND = report
