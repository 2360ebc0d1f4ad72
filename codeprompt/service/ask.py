"""What is asked of the service and what it answers: plain values, free of HTTP and of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from codeprompt.check.items import as_items, called, missing_fields, whole
from codeprompt.check.questions import Question, questions
from codeprompt.errors import UsageError
from codeprompt.languages import Language, find_language, is_language, language_of
from codeprompt.registry import LANGUAGES
from codeprompt.types import Kind, Prediction

PriorityName = Literal["explicit", "hover", "diagnostics", "batch"]
ROUTES: Mapping[str, str] = {
    "summarize": "summarize",
    "translate": "translate",
    "defects": "defect",
    "localize": "localize",
}
"""The last part of a route to the task behind it."""
NO_FILE = "code"
"""Stands for the file where none was named."""


@dataclass(frozen=True)
class Ask:
    """One text to answer for: every function of it, the one named, or the text as it stands.

    file: what the code is from; its ending tells the language, and it is never opened.
    function: `run` or `Server.run`. whole: one answer for the text as it stands, which `function`
    names then. imports: by name, of the file that a whole text is from.
    pack: a name, or NAME@VERSION; None for the task's own. deadline_ms: from now on.
    project: the full path of the folder whose packs (`.codeprompt/packs`, there and above up to
    the git root) answer as well, before all others; None for no project's.
    """

    code: str
    language: str | None = None
    file: str | None = None
    function: str | None = None
    whole: bool = False
    imports: str | None = None
    pack: str | None = None
    priority: PriorityName = "explicit"
    deadline_ms: int | None = None
    target_language: str | None = None
    project: str | None = None

    @property
    def extra(self) -> dict[str, str]:
        """Fields that the code does not hold."""
        return {"target_language": self.target_language} if self.target_language else {}


@dataclass(frozen=True)
class Item:
    """One answer, with its place among those of its request."""

    index: int
    question: Question
    prediction: Prediction
    kind: Kind
    pack: str
    version: str
    cached: bool
    named: bool = True

    def as_json(self) -> list[dict[str, Any]]:
        """Its items of `predict --json`, with pack, version and cached: one, or one a line told."""
        return [
            {
                **item,
                "file": item["file"] if self.named else None,
                "score": item["score"] if math.isfinite(item["score"]) else None,
                "pack": self.pack,
                "version": self.version,
                "cached": self.cached,
            }
            for item in as_items(self.question, self.prediction, self.kind)
        ]


@dataclass(frozen=True)
class Token:
    """A new part of the text of the answer number `index`."""

    index: int
    text: str


Event = Token | Item


def language_for(ask: Ask) -> Language:
    """The language named, or the one that the file's ending tells. Raises `CodepromptError`."""
    if ask.language is not None:
        return find_language(ask.language)
    found = language_of(ask.file, ask.code.encode("utf-8", "replace")) if ask.file else None
    if found is None:
        known = ask.file is not None
        raise UsageError(
            "The file's ending tells no supported language" if known else "No language is given",
            expected="`language`, or `file` with the ending of one of: "
            + ", ".join(LANGUAGES.names()),
        )
    return found


def languages_of(ask: Ask) -> tuple[str, str]:
    """The names of the code's language and of the one to write, "" where none is asked for.

    Raises `CodepromptError`.
    """
    target = ask.target_language or ""
    named = find_language(target).name if is_language(target) else target
    return language_for(ask).name, named


def questions_of(ask: Ask) -> list[Question]:
    """What to ask the engine, in order of place.

    Raises `CodepromptError`; no message holds anything of the code.
    """
    language = language_for(ask)
    path = Path(ask.file or NO_FILE)
    if ask.whole:
        question = replace(whole(path, ask.code, language), imports=ask.imports or "")
        return [_named(question, ask.function)]
    data = ask.code.encode("utf-8", "surrogatepass")
    found = list(questions(path, data, language))
    if ask.function is None:
        return found
    picked = called(found, ask.function)
    if not picked:
        raise UsageError(
            f"The code has no function of the name in `function`, among {len(found)}",
            expected="a name as in the code: run, or Server.run",
        )
    return picked


def _named(question: Question, name: str | None) -> Question:
    """The name that a whole text was given, as if it stood in it."""
    if name is None:
        return question
    owner, _, last = name.rpartition(".")
    function = replace(question.function, name=last, qualified_name=name, owner=owner)
    return replace(question, function=function)


def check_fields(wanted: list[str], asked: list[Question], extra: Mapping[str, str]) -> None:
    """Raises `UsageError` where the template asks for what the request does not say."""
    missing = missing_fields(wanted, asked[0].fields(extra)) if asked else ()
    if missing:
        raise UsageError(
            f"The pack's template asks for {', '.join(missing)}, which the request does not say",
            do="Give `target_language`" if "target_language" in missing else "Take another pack",
        )
