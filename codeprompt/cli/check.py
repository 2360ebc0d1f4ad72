"""Find functions that a classifying pack thinks are defective, with a status for CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codeprompt.cli.options import IN_FILE, OUT_FILE, PACK, engine_options
from codeprompt.cli.output import answer, as_line, counts, note
from codeprompt.errors import UsageError
from codeprompt.languages import find_language

if TYPE_CHECKING:
    from codeprompt.check.findings import Finding
    from codeprompt.check.questions import Question
    from codeprompt.check.run import LinesOf, Rules, Tally
    from codeprompt.cli.answering import Opened
    from codeprompt.cli.progress import Counter
    from codeprompt.pack import Card

EXAMPLES = """\b
Examples:
  codeprompt check src --pack packs/defect
  codeprompt check src --pack packs/defect --fail-on 0.9 --changed-since origin/main
  codeprompt check src --pack packs/defect --lines packs/localize
  codeprompt check . --pack packs/defect --write-baseline known.json
  codeprompt check . --pack packs/defect --baseline known.json --format sarif > defects.sarif

A comment `codeprompt: ignore` on a function's first line, or right above it, leaves it out. Files
that git ignores, and vendored, generated and test files are left out too, and counted on stderr.
"""
DEFAULT_PACK, DEFAULT_THRESHOLD = "defect", 0.5
FAILED = 1


@dataclass(frozen=True)
class Shape:
    """How findings are printed."""

    format: str
    jsonl: bool

    @property
    def streams(self) -> bool:
        """Whether findings are printed as they come."""
        return self.jsonl or self.format == "text"


@click.command("check", epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, type=IN_FILE, metavar="PATH...")
@click.option("--pack", type=PACK, default=DEFAULT_PACK, show_default=True)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--jsonl", is_flag=True, help="Print one JSON object a finding, as they come.")
@click.option(
    "--fail-on",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Leave with status 1 where a finding has at least this probability.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Report from this probability on. [default: the threshold on the pack's card]",
)
@click.option("--baseline", type=IN_FILE, help="Known findings, which are not reported.")
@click.option("--write-baseline", type=OUT_FILE, help="Make all of today's findings known.")
@click.option("--lines", "liner", type=PACK, help="A pack that tells the lines of a finding.")
@click.option("--changed-since", metavar="REV", help="Only functions that changed since then.")
@engine_options
def check(
    paths: tuple[Path, ...],
    pack: str,
    format_: str,
    as_json: bool,
    jsonl: bool,
    fail_on: float | None,
    threshold: float | None,
    baseline: Path | None,
    write_baseline: Path | None,
    liner: str | None,
    changed_since: str | None,
    **engine: Any,
) -> None:
    """Find functions that a classifying pack thinks are defective, with a status for CI.

    Leaves with status 1 where a finding reaches --fail-on, else with 0.
    """
    from codeprompt.check.baseline import read_baseline
    from codeprompt.check.changes import changed_since as changes_since
    from codeprompt.check.files import files_to_check
    from codeprompt.check.run import Rules, Tally

    if write_baseline and changed_since:
        raise UsageError(
            "--write-baseline with --changed-since would forget what is known elsewhere",
            do="Leave one of them out",
        )
    tally = Tally()
    known = read_baseline(baseline) if baseline else frozenset()
    files = files_to_check(paths, tally.left_out)
    changes = changes_since(changed_since, paths) if changed_since else None
    if changes is not None:
        every, files = files, [path for path in files if path.resolve() in changes]
        tally.left_out["unchanged file"] += len(every) - len(files)
    card, positive = _classifier(pack)
    if threshold is None:
        threshold = DEFAULT_THRESHOLD if card.threshold is None else card.threshold
    # The pack that is taken where none is named answers for what it was tuned on alone.
    given = click.get_current_context().get_parameter_source("pack")
    default = given is click.core.ParameterSource.DEFAULT
    languages = card.data.spoken[0] if default else ()
    rules = Rules(threshold, fail_on, known, changes, card.data.form, languages)
    shape = Shape("json" if as_json else format_, jsonl)
    found = _ask(pack, positive, files, rules, tally, shape, liner, engine) if files else []
    _report(found, card, shape)
    _tell(found, tally, rules)
    if not tally.functions and any(name.startswith("function in ") for name in tally.left_out):
        titles = ", ".join(find_language(name).title for name in languages)
        note(
            f"The pack '{card.name}' was tuned on {titles} alone; "
            f"--pack {pack} asks it about other languages all the same, for what that is worth."
        )
    if write_baseline:
        from codeprompt.check.baseline import write_baseline as write

        write(write_baseline, tally.fingerprints)
        note(f"Wrote {write_baseline}: {len(tally.fingerprints)} known findings.")
    elif any(finding.fails for finding in found):
        click.get_current_context().exit(FAILED)


def _ask(
    pack: str,
    positive: str,
    files: list[Path],
    rules: Rules,
    tally: Tally,
    shape: Shape,
    liner: str | None,
    engine: dict[str, Any],
) -> list[Finding]:
    from codeprompt.check.run import findings
    from codeprompt.cli.answering import opened
    from codeprompt.cli.progress import Counter

    found = []
    with opened(pack, **engine) as ready, Counter("files", len(files)) as counter:
        lines_of = _lines_of(liner, ready) if liner else None
        for finding in findings(
            ready.engine, ready.name, positive, files, rules, tally, counter.advance, lines_of
        ):
            found.append(finding)
            if shape.streams:
                _print(finding, shape, counter)
    return found


def _lines_of(liner: str, ready: Opened) -> LinesOf:
    """What asks a labelling pack for the lines of a finding, in the same engine.

    Raises `UsageError` where the pack labels no lines, `PackError` where it is for another
    backbone.
    """
    from codeprompt.check.items import told_lines
    from codeprompt.engine import Request
    from codeprompt.pack import load
    from codeprompt.registry import TASKS

    pack = load(liner)
    if TASKS.get(pack.card.task).kind != "label":
        raise UsageError(
            f"The pack '{pack.card.name}' is for {pack.card.task} and tells no lines",
            expected="a pack for localize",
        )
    name = ready.engine.load(pack, f"{pack.card.name} (lines)")

    def lines_of(question: Question) -> list[tuple[int, float]]:
        request = Request(name, question.fields(form=pack.card.data.form))
        return told_lines(question, ready.engine.predict([request])[0])

    return lines_of


def _print(finding: Finding, shape: Shape, counter: Counter) -> None:
    counter.say(as_line(finding.as_json()) if shape.jsonl else finding.as_text())


def _report(found: list[Finding], card: Card, shape: Shape) -> None:
    """What is printed at the end, where findings were not printed as they came."""
    if shape.streams:
        return
    if shape.format == "json":
        answer({"results": [finding.as_json() for finding in found]})
        return
    from codeprompt.check.sarif import sarif
    from codeprompt.registry import TASKS

    summary = TASKS.get(card.task).summary
    answer(sarif(found, task=card.task, pack=card.name, summary=summary, root=Path.cwd()))


def _tell(found: list[Finding], tally: Tally, rules: Rules) -> None:
    for path, reason in tally.unread:
        note(f"Not read: {path}: {reason}")
    left_out = counts(tally.left_out)
    if left_out:
        note(f"Left out: {left_out}.")
    note(
        f"{len(found)} finding{'s' * (len(found) != 1)} (probability {rules.least:.2f} or more) in "
        f"{tally.functions} functions of {tally.files} files."
    )


def _classifier(pack: str) -> tuple[Card, str]:
    """The card of a pack that classifies, and its positive label; torch is not needed for it."""
    from codeprompt.check.questions import read_source
    from codeprompt.pack import find
    from codeprompt.pack.card import decode

    folder = find(pack)
    card = decode(read_source(folder / "card.json"), str(folder / "card.json"))
    if card.positive is None:
        raise UsageError(
            f"The pack '{card.name}' is for {card.task} and has no label to look for",
            expected="a pack that classifies",
            do=f"For its answers use: codeprompt predict {pack} FILE",
        )
    return card, card.positive


COMMAND = check
