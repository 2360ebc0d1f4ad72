"""Which functions of a text are asked about, and the items that answer.

`predict --json` and the service share both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeprompt.check.questions import Question
from codeprompt.languages import Language
from codeprompt.languages.functions import Function, source_bytes
from codeprompt.types import Kind, Prediction


def called(found: Iterable[Question], name: str) -> list[Question]:
    """The functions of that name: `run` or `Server.run`."""
    return [q for q in found if name in (q.function.name, q.function.qualified_name)]


def whole(path: Path, data: str | bytes, language: Language) -> Question:
    """A question about a text as it stands, as if it were one function without a name.

    Raises `DataError` for binary data.
    """
    source = source_bytes(data)
    size = len(source)
    lines = source.rstrip(b"\n").count(b"\n") + 1
    function = Function(
        name="",
        qualified_name="",
        owner="",
        language=language,
        start_line=1,
        end_line=lines,
        start_byte=0,
        end_byte=size,
        doc_start=0,
        doc_end=0,
        body_start=0,
        body_end=size,
        parameters=(),
        has_error=False,
        source=source,
    )
    return Question(path, function)


def missing_fields(wanted: Iterable[str], fields: Mapping[str, str]) -> Sequence[str]:
    """What a pack's template asks for and the question does not say."""
    return [field for field in wanted if field not in fields]


def as_item(question: Question, prediction: Prediction, kind: Kind) -> dict[str, Any]:
    """One entry of `results`."""
    function = question.function
    return {
        "file": question.path.as_posix(),
        "function": function.qualified_name,
        "start_line": function.start_line,
        "end_line": function.end_line,
        "text" if kind == "generate" else "label": prediction.text,
        "score": prediction.score,
    }
