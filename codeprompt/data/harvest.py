"""Functions with their documentation from any source tree, as examples for `summarize`.

The input is the function without its documentation, the target the documentation's first sentence.
An input never holds its own target: where a comment or a message inside repeats it, the function
is left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codeprompt.data.dedupe import near_duplicates
from codeprompt.data.tree import SourceFile, is_generated, source_files
from codeprompt.errors import DataError, UsageError
from codeprompt.languages import Language, find_languages, language_of
from codeprompt.languages.functions import Function, functions, imports, parse
from codeprompt.types import Example

Progress = Callable[[int, int], None]
SHORTEST, LONGEST = 3, 100  # words of a summary
UNFINISHED = re.compile(r"(?:todo|fixme|xxx|hack|nocover|noqa)\b", re.IGNORECASE)
LEGAL = re.compile(r"copyright|\blicen[sc]ed?\b|SPDX-", re.IGNORECASE)
FOREIGN = 0.2  # share of letters outside ASCII


@dataclass(frozen=True, slots=True)
class HarvestReport:
    """What a tree gave.

    files: read; functions: found in them; left_out: reason to count of files, folders or functions.
    """

    examples: list[Example]
    files: int
    functions: int
    left_out: Mapping[str, int] = field(default_factory=dict)


def harvest(
    tree: Path | str,
    *,
    task: str = "summarize",
    languages: Sequence[str | Language] | None = None,
    progress: Progress | None = None,
) -> HarvestReport:
    """Every documented function of `tree` (a folder or one file), near-duplicates dropped.

    languages: only these (names or aliases); None for all. progress: called with (files done,
    files in all). Fields of an example: `code` and `raw_code` (without its documentation),
    `language`, `name`, `qualified_name`, `class`, `path`, `imports`; its target is the
    summary, its group the path, and its id names path and function. Raises `DataError` where the
    tree is missing.
    """
    if task != "summarize":
        raise UsageError(
            f"A source tree holds no examples for the task '{task}'",
            expected="the task 'summarize'",
            do="Give labelled or paired data as a file or a hub id",
        )
    tree = Path(tree)
    if not tree.exists():
        raise DataError(f"There is no source tree at {tree}", do="Check the path")
    left_out: Counter[str] = Counter()
    files = list(source_files(tree, find_languages(languages), left_out))
    examples: list[Example] = []
    read = found = 0
    for done, file in enumerate(files):
        listed = _functions(file, left_out)
        if listed is not None:
            read += 1
            found += len(listed[0])
            examples += _examples(file, *listed, left_out)
        if progress is not None:
            progress(done + 1, len(files))
    drop = set(near_duplicates([example.fields["code"] for example in examples]))
    if drop:
        left_out["near-duplicate"] += len(drop)
    kept = [example for at, example in enumerate(examples) if at not in drop]
    return HarvestReport(kept, read, found, dict(sorted(left_out.items())))


def need_examples(report: HarvestReport, tree: Path | str) -> list[Example]:
    """The report's examples; a `DataError` that says what was found where there are none."""
    if report.examples:
        return report.examples
    reasons = ", ".join(f"{count} x {reason}" for reason, count in report.left_out.items())
    raise DataError(
        f"{tree} has no documented function to learn from: {report.functions} functions in "
        f"{report.files} files{'; left out: ' + reasons if reasons else ''}",
        expected="functions with a docstring or a documentation comment",
        do="Give a tree with documentation, or pairs of code and summary as JSONL",
    )


def as_row(example: Example) -> dict[str, str]:
    """One example as an object for JSONL, which `load_data` reads back as it was."""
    fields = {name: text for name, text in example.fields.items() if name != "raw_code"}
    return {"id": example.id, "group": example.group, **fields, "summary": example.target}


def _functions(file: SourceFile, left_out: Counter[str]) -> tuple[list[Function], str] | None:
    """The functions of a file, and what it imports."""
    try:
        data = file.path.read_bytes()
    except OSError:
        left_out["unreadable file"] += 1
        return None
    if b"\0" in data:
        left_out["binary file"] += 1
        return None
    if is_generated(data):
        left_out["generated file"] += 1
        return None
    language = language_of(file.path, data) or file.language
    tree = parse(data, language)
    return functions(data, language, tree), ", ".join(imports(tree, language))


def _examples(
    file: SourceFile, listed: list[Function], imported: str, left_out: Counter[str]
) -> Iterator[Example]:
    times: Counter[str] = Counter()
    for function in listed:
        reason = _unfit(function)
        if reason:
            left_out[reason] += 1
            continue
        code, summary = function.bare, function.summary
        if _plain(summary) in _plain(code):
            left_out["summary repeated in the code"] += 1
            continue
        times[function.qualified_name] += 1
        turn = times[function.qualified_name]
        yield Example(
            fields={
                "code": code,
                "raw_code": code,
                "language": function.language.name,
                "name": function.name,
                "qualified_name": function.qualified_name,
                "class": function.owner,
                "path": file.name,
                "imports": imported,
            },
            target=summary,
            id=f"{file.name}:{function.qualified_name}" + (f"#{turn}" if turn > 1 else ""),
            group=file.name,
        )


def _unfit(function: Function) -> str:
    """Why a function teaches nothing, "" where it does."""
    if function.doc_start == function.doc_end:
        return "function without documentation"
    if function.has_error:
        return "function with a syntax error"
    if function.body_is_trivial:
        return "function with a trivial body"
    return unfit_summary(function.summary)


def unfit_summary(summary: str) -> str:
    """Why a summary is no reference, "" where it is one."""
    words = re.findall(r"[^\W\d_]+", summary)
    letters = [sign for sign in summary if sign.isalpha()]
    if not words:
        return "documentation of tags only"
    if UNFINISHED.match(summary):
        return "documentation still to do"
    if sum(not sign.isascii() for sign in letters) > FOREIGN * len(letters):
        return "documentation not in English"
    if len(words) < SHORTEST:
        return "documentation of fewer than three words"
    if len(words) > LONGEST:
        return "documentation without a first sentence"
    if LEGAL.search(summary):
        return "documentation about a licence"
    return ""


def _plain(text: str) -> str:
    """Lower case, white space and a final stop apart: the form in which repetition is sought."""
    return " ".join(text.split()).casefold().rstrip(".!:; ")
