"""One function of a source file: its place, and its texts on demand."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from codeprompt.languages.base import Language
from codeprompt.languages.functions.summary import summary_of

TRIVIAL = re.compile(
    r"""(?: pass | \.\.\. | return | return\s+None | raise\s+NotImplementedError\b.*
        | throw\s+new\s+\w*(?:NotImplemented|UnsupportedOperation|NotSupported)\w*\b.*
        | throw\s+new\s+Error\(\s*['"](?:not\s+(?:yet\s+)?implemented|unimplemented).*
        | panic\(\s*"(?:not\s+implemented|unimplemented|todo).* )?;?""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
LONGEST_TRIVIAL = 400


@dataclass(frozen=True, eq=False)
class Function:
    """A function, method or constructor.

    name, qualified_name: `run` and `Server.run`; owner: the classes around it, `Server` or "".
    start_line, end_line: 1-based, inclusive, of the declaration without a comment before it.
    start_byte, end_byte: of the same, in the UTF-8 bytes of the file.
    doc_start, doc_end: bytes of its documentation comment; equal where there is none.
    body_start, body_end: bytes of its body; equal for a declaration without one.
    parameters: names in order, `self` and the like included.
    has_error: the parser met a syntax error inside.
    """

    name: str
    qualified_name: str
    owner: str
    language: Language = field(repr=False)
    start_line: int
    end_line: int
    start_byte: int
    end_byte: int
    doc_start: int
    doc_end: int
    body_start: int
    body_end: int
    parameters: tuple[str, ...]
    has_error: bool
    source: bytes = field(repr=False)
    only_doc: bool = field(default=False, repr=False)

    def _text(self, start: int, end: int) -> str:
        return self.source[start:end].decode("utf-8", errors="replace")

    @property
    def code(self) -> str:
        """The full text, documentation included, as it stands in the file."""
        return self._text(min(self.start_byte, self.doc_start), self.end_byte)

    @property
    def doc(self) -> str:
        """The documentation as written, with its quotes or comment marks; "" for none."""
        return self._text(self.doc_start, self.doc_end)

    @functools.cached_property
    def summary(self) -> str:
        """The documentation's first sentence, cleaned of marks and tags; "" where none is left."""
        return summary_of(self.doc, self.language, self.name) if self.doc else ""

    @property
    def bare(self) -> str:
        """The text without its own documentation.

        A Python body that was only a docstring becomes `pass`, so that it still parses.
        """
        start, end = self.doc_start, self.doc_end
        if start == end or end <= self.start_byte:
            return self._text(self.start_byte, self.end_byte)
        if self.only_doc:
            return self._text(self.start_byte, start) + "pass" + self._text(end, self.end_byte)
        start, end = self._widened(start, end)
        return self._text(self.start_byte, start) + self._text(end, self.end_byte)

    def file_line(self, line: int) -> int:
        """The line in the file of a line of `bare`, both from 1."""
        place = self.start_line + line - 1
        inside = self.doc_end > self.doc_start >= self.start_byte
        if not inside or self.only_doc:
            return place
        text = self.source[self.start_byte : self.end_byte]
        gone = text.count(b"\n") - self.bare.count("\n")
        first = self.source[self.start_byte : self.doc_start].count(b"\n") + 1
        return place + gone if line >= first else place

    def _widened(self, start: int, end: int) -> tuple[int, int]:
        """A docstring's span with the `;` after it, or with its lines where it fills them."""
        data = self.source
        tail = re.compile(rb"[ \t]*;[ \t]*").match(data, end)
        if tail:
            return start, tail.end()
        line = data.rfind(b"\n", 0, start) + 1
        rest = re.compile(rb"[ \t\r]*\n").match(data, end)
        if rest and not data[line:start].strip() and line > self.start_byte:
            return line, rest.end()
        return start, end

    @property
    def body_is_trivial(self) -> bool:
        """No body, an empty one, or one that only passes, returns nothing or is not implemented."""
        start, end = self.body_start, self.body_end
        if self.only_doc or start == end:
            return True
        if self.doc_start >= start and self.doc_end > self.doc_start:
            start = self.doc_end
        if end - start > LONGEST_TRIVIAL:
            return False
        marks = "|".join(re.escape(mark) for mark in self.language.line_comments)
        text = re.sub(rf"(?m)(?:^|(?<=[\s;{{}}]))(?:{marks})[^\n]*$", "", self._text(start, end))
        text = re.sub(r"(?s)/\*.*?\*/", "", text).strip().removeprefix("{").removesuffix("}")
        return TRIVIAL.fullmatch(text.strip().lstrip(";").strip()) is not None
