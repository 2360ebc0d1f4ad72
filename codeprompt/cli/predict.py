"""Answer for every function of a file, in any supported language."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codeprompt.cli.options import PACK, decode_options, engine_options, json_option
from codeprompt.cli.output import answer, as_line, note
from codeprompt.errors import UsageError

if TYPE_CHECKING:
    from codeprompt.check.questions import Question
    from codeprompt.types import Kind

EXAMPLES = """\b
Examples:
  codeprompt predict packs/summarize src/server.py
  codeprompt predict packs/summarize src/server.py --function Server.run
  git show HEAD:a.java | codeprompt predict packs/defect - --language java --json
  codeprompt predict packs/summarize src/server.py --decode mbr --candidates 16
  codeprompt predict packs/summarize src/server.py --decode rerank
  codeprompt predict packs/summarize big.py --jsonl > summaries.jsonl
"""


@click.command("predict", epilog=EXAMPLES)
@click.argument("pack", type=PACK)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--function", "function_name", metavar="NAME", help="Only this one: run, Server.run.")
@click.option("--language", help="Of the file; by default told by its ending.")
@click.option("--target-language", help="For a pack that writes several.")
@decode_options
@json_option
@click.option("--jsonl", is_flag=True, help="Print one JSON object a function, as answers come.")
@engine_options
def predict(
    pack: str,
    file: str,
    function_name: str | None,
    language: str | None,
    target_language: str | None,
    decode: str | None,
    candidates: int,
    channel: float,
    as_json: bool,
    jsonl: bool,
    **engine: Any,
) -> None:
    """Answer for every function of a file, in any supported language.

    FILE may be - for stdin (with --language). Documentation inside the functions is not shown to
    the pack. A score is the probability of the positive label, or the mean log-probability of the
    written tokens.
    """
    asked = _questions(file, function_name, language)
    if not asked:
        note(f"{file} has no functions.")
        if as_json:
            answer({"results": []})
        return
    from codeprompt.check.items import as_items
    from codeprompt.check.questions import answered
    from codeprompt.cli.answering import decoding_for, opened
    from codeprompt.cli.progress import Counter
    from codeprompt.registry import TASKS

    results = []
    with opened(pack, **engine) as ready:
        written = ready.card.data.spoken[1]
        if target_language is None and len(written) == 1:
            target_language = written[0]
        extra = {"target_language": target_language} if target_language else {}
        _check_fields(ready.pack.template.fields, asked[0].fields(extra))
        task = TASKS.get(ready.card.task)
        kind: Kind = task.kind
        decoding = decoding_for(ready, decode, candidates, channel)
        with Counter("functions", len(asked)) as counter:
            for question, prediction in answered(
                ready.engine, ready.name, asked, extra, form=ready.card.data.form, decoding=decoding
            ):
                counter.advance()
                for result in as_items(question, prediction, kind):
                    if as_json:
                        results.append(result)
                    else:
                        counter.say(as_line(result) if jsonl else _line(result, kind))
    if as_json:
        answer({"results": results})


def _line(result: dict[str, Any], kind: Kind) -> str:
    head = f"{result['file']}:{result['start_line']}: {result['function']}: "
    if kind == "generate":
        return head + str(result["text"])
    return f"{head}{result['label']} ({result['score']:.2f})"


def _questions(file: str, name: str | None, language: str | None) -> list[Question]:
    from codeprompt.check.items import called
    from codeprompt.check.questions import questions, read_source
    from codeprompt.languages import find_language

    if file == "-" and language is None:
        raise UsageError("The language of stdin is not known", do="Name it with --language")
    chosen = find_language(language) if language else None
    data = sys.stdin.buffer.read() if file == "-" else read_source(Path(file))
    found = list(questions(Path(file), data, chosen))
    if name is None:
        return found
    picked = called(found, name)
    if not picked:
        names = sorted({q.function.qualified_name for q in found})
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise UsageError(
            f"{file} has no function '{name}'",
            expected=f"one of: {shown}" if names else "",
            do=f"Did you mean '{near[0]}'?" if near else "",
        )
    return picked


def _check_fields(wanted: Iterable[str], fields: dict[str, str]) -> None:
    from codeprompt.check.items import missing_fields

    missing = missing_fields(wanted, fields)
    if missing:
        hint = "--target-language NAME" if "target_language" in missing else "another pack"
        raise UsageError(
            f"The pack's template asks for {', '.join(missing)}, which a file does not say",
            do=f"Give {hint}",
        )


COMMAND = predict
