"""Ask a classifying pack about the functions of files, and keep what counts as a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeprompt.check.changes import Changes, touched
from codeprompt.check.findings import Finding
from codeprompt.check.fingerprint import fingerprint
from codeprompt.check.ignore import is_ignored
from codeprompt.check.questions import Question, answered, questions, read_source
from codeprompt.data.tree import is_generated
from codeprompt.errors import DataError
from codeprompt.languages.base import speaks

LinesOf = Callable[[Question], Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class Rules:
    """What makes an answer a finding.

    threshold: from which probability on. fail_on: from which one on it fails; None: none does.
    known: fingerprints of a baseline. changes: only functions that git says changed; None for all.
    form: of the code that the pack was tuned on (its card's `data.form`). languages: what it is
    asked about; empty for all.
    """

    threshold: float
    fail_on: float | None = None
    known: frozenset[str] = frozenset()
    changes: Changes | None = None
    form: str = "text"
    languages: tuple[str, ...] = ()

    @property
    def least(self) -> float:
        """What fails is reported, even below the threshold."""
        return self.threshold if self.fail_on is None else min(self.threshold, self.fail_on)


@dataclass
class Tally:
    """What was looked at, and what was left out and why; filled while `findings` runs.

    fingerprints: of all findings, those of the baseline included.
    """

    files: int = 0
    functions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[tuple[Path, str]] = field(default_factory=list)
    fingerprints: set[str] = field(default_factory=set)


def findings(
    engine: Any,
    pack: str,
    positive: str,
    files: Sequence[Path],
    rules: Rules,
    tally: Tally,
    on_file: Callable[[], None] | None = None,
    lines_of: LinesOf | None = None,
) -> Iterator[Finding]:
    """Findings in the order of the files, as answers come.

    lines_of: gives the lines of a function that is found, with their probabilities.
    """
    asked = _asked(files, rules, tally, on_file)
    for question, prediction in answered(engine, pack, asked, form=rules.form):
        tally.functions += 1
        if prediction.score < rules.least:
            continue
        print_ = fingerprint(question.function)
        tally.fingerprints.add(print_)
        if print_ in rules.known:
            tally.left_out["function in the baseline"] += 1
            continue
        function = question.function
        yield Finding(
            file=question.path,
            function=function.qualified_name,
            start_line=function.start_line,
            end_line=function.end_line,
            label=positive,
            score=prediction.score,
            fingerprint=print_,
            fails=rules.fail_on is not None and prediction.score >= rules.fail_on,
            lines=tuple(lines_of(question)) if lines_of else (),
        )


def _asked(
    files: Sequence[Path], rules: Rules, tally: Tally, on_file: Callable[[], None] | None
) -> Iterator[Question]:
    """The functions to ask about; a file that cannot be read is told, not fatal."""
    for path in files:
        try:
            yield from _of_file(path, rules, tally)
        except DataError as error:
            tally.unread.append((path, error.found))
        if on_file:
            on_file()


def _of_file(path: Path, rules: Rules, tally: Tally) -> Iterator[Question]:
    data = read_source(path)
    if is_generated(data):
        tally.left_out["generated file"] += 1
        return
    tally.files += 1
    lines = data.decode("utf-8", "replace").split("\n")
    for question in questions(path, data):
        function = question.function
        if function.body_start == function.body_end:
            tally.left_out["declaration without a body"] += 1
        elif not speaks(function.language.name, rules.languages):
            tally.left_out[f"function in {function.language.title}"] += 1
        elif is_ignored(lines, function.start_line):
            tally.left_out["function marked 'codeprompt: ignore'"] += 1
        elif rules.changes is not None and not touched(
            rules.changes, path, function.start_line, function.end_line
        ):
            tally.left_out["unchanged function"] += 1
        else:
            yield question
