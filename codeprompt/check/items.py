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
from codeprompt.lines import read_ranking
from codeprompt.types import Kind, Prediction

CLEAN, DEFECTIVE = "clean", "defective"
"""The labels of lines, in the words of the task."""


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
    if kind == "label":
        kind, prediction = "classify", _whole(prediction)
    return {
        "file": question.path.as_posix(),
        "function": function.qualified_name,
        "start_line": function.start_line,
        "end_line": function.end_line,
        "text" if kind == "generate" else "label": prediction.text,
        "score": prediction.score,
    }


def as_items(question: Question, prediction: Prediction, kind: Kind) -> list[dict[str, Any]]:
    """The entries of `results` for one function: one, or where lines are labelled one a line told.

    A line has its place in the file; a function of which no line is told has one entry, `clean`.
    """
    told = told_lines(question, prediction) if kind == "label" else []
    whole = as_item(question, prediction, kind)
    return [
        {**whole, "start_line": line, "end_line": line, "label": DEFECTIVE, "score": score}
        for line, score in told
    ] or [whole]


def told_lines(question: Question, prediction: Prediction) -> list[tuple[int, float]]:
    """Lines of the file that a labelling pack tells, in order, with their probabilities."""
    ranking = read_ranking(prediction.text)
    function = question.function
    return [(function.file_line(line), ranking.scores[line]) for line in sorted(ranking.told)]


def _whole(prediction: Prediction) -> Prediction:
    """What a labelling pack says of the function as a whole."""
    told = read_ranking(prediction.text).told
    return Prediction(DEFECTIVE if told else CLEAN, prediction.score)
