"""The functions of source files as questions to the engine, answered in the order of the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from codeprompt.errors import DataError
from codeprompt.languages import Language, needed_language
from codeprompt.languages.functions import (
    Function,
    functions,
    imports,
    one_line,
    parse,
    source_bytes,
    spaced,
    tokens,
)
from codeprompt.types import Prediction

WINDOW = 32
"""Questions asked at a time: two full batches, so that answers come soon and in order."""


@dataclass(frozen=True, slots=True)
class Question:
    """One function of a file. path: as the user named it. imports: of its file, by name."""

    path: Path
    function: Function
    imports: str = ""

    def fields(self, extra: Mapping[str, str] | None = None, form: str = "text") -> dict[str, str]:
        """What a template may ask for; the documentation is cut out, as in training.

        extra: fields that the file does not hold (`target_language`); they win.
        form: what the pack was tuned on (its card's `data.form`): source text, its tokens, the
        text on one line, or with an empty line after every line.
        """
        function = self.function
        code = function.bare
        if form == "tokens":
            code = " ".join(tokens(code, function.language))
        elif form == "line":
            code = one_line(code, function.language)
        elif form == "spaced":
            code = spaced(code)
        return {
            "code": code,
            "raw_code": function.bare,
            "language": function.language.name,
            "name": function.name,
            "qualified_name": function.qualified_name,
            "class": function.owner,
            "path": self.path.as_posix(),
            "imports": self.imports,
            **(extra or {}),
        }


def read_source(path: Path) -> bytes:
    """A file's bytes. Raises `DataError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def questions(path: Path, data: bytes, language: Language | None = None) -> Iterator[Question]:
    """Every function of a file. Raises `DataError` for binary data and unsupported files."""
    chosen = language or needed_language(path)
    try:
        tree = parse(source_bytes(data), chosen)
        known = ", ".join(imports(tree, chosen))
        for function in functions(data, chosen, tree):
            yield Question(path, function, known)
    except DataError as error:
        raise DataError(f"{path}: {error.found}", expected=error.expected, do=error.do) from error


def answered(
    engine: Any,
    pack: str,
    asked: Iterable[Question],
    extra: Mapping[str, str] | None = None,
    *,
    form: str = "text",
    window: int = WINDOW,
    decoding: Any = None,
) -> Iterator[tuple[Question, Prediction]]:
    """Each question with its answer, in order, as answers come.

    engine: an `Engine` that has loaded `pack`. asked: read no further than needed. form: of the
    pack's code (its card's `data.form`). decoding: in place of the pack's own.
    """
    from codeprompt.engine import Request

    waiting = iter(asked)
    while block := list(islice(waiting, window)):
        found: dict[int, Prediction] = {}
        told = 0
        for index, prediction in engine.stream(
            [Request(pack, q.fields(extra, form), decoding) for q in block]
        ):
            found[index] = prediction
            while told in found:
                yield block[told], found.pop(told)
                told += 1
