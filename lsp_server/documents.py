"""Open documents: their text under incremental edits, their positions, their functions.

Offsets count code points of `text`; bytes count in its UTF-8. A `Document` takes the place of
pygls' own `TextDocument`, which cuts lines where LSP has none.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from lsprotocol import types
from pygls.uris import to_fs_path

from codeprompt.languages import Language, is_language, language_of
from codeprompt.languages.base import find_language
from codeprompt.languages.functions import Function
from lsp_server.positions import Encoding, index_in, line_starts, width
from lsp_server.syntax import Edit, Syntax, point

NAMES = {"javascriptreact": "javascript", "typescriptreact": "typescript", "cuda-cpp": "cpp"}
"""Language ids of LSP that are no name of ours."""
UNNAMED = frozenset({"", "plaintext", "text", "fundamental"})
"""Language ids that say nothing."""
Change = types.TextDocumentContentChangeEvent


class Document:
    """One text. version: the editor's; generation: counts the changes we were told of.

    opened: the editor owns it; else it was read from disk.
    """

    def __init__(
        self,
        uri: str,
        text: str,
        *,
        version: int = 0,
        language_id: str = "",
        encoding: Encoding = "utf-16",
        opened: bool = True,
    ) -> None:
        self.uri, self.language_id, self.encoding = uri, language_id, encoding
        self.opened = opened
        self.version, self.generation = version, 0
        self.path = path_of(uri)
        self._set(text)
        self.language = language_for(language_id, self.path, self.data)
        self._syntax = Syntax(self.language) if self.language else None

    def _set(self, text: str) -> None:
        self.text = text
        self.data = text.encode("utf-8", "surrogatepass")
        self._ascii = len(self.data) == len(text)
        self._starts = line_starts(text)
        self._bytes: list[int] | None = None
        self._functions: list[Function] | None = None
        self._imports: str | None = None

    # --- edits

    def apply(self, changes: Sequence[Change], version: int) -> None:
        """Changes in their order, each on the text that the one before it left."""
        for change in changes:
            if isinstance(change, types.TextDocumentContentChangePartial):
                self._splice(change.range, change.text)
            else:
                self._set(change.text)
                if self._syntax:
                    self._syntax.replaced()
        self.version = version
        self.generation += 1

    def _splice(self, where: types.Range, new: str) -> None:
        start, end = sorted((self.offset_at(where.start), self.offset_at(where.end)))
        first, last = self.byte_at(start), self.byte_at(end)
        old = self.data
        inserted = new.encode("utf-8", "surrogatepass")
        self.data = b"".join((old[:first], inserted, old[last:]))
        self.text = "".join((self.text[:start], new, self.text[end:]))
        self._ascii = len(self.data) == len(self.text)
        self._recount(start, end, len(new) - (end - start))
        self._bytes = self._functions = self._imports = None
        if self._syntax:
            reached = first + len(inserted)
            self._syntax.edited(
                Edit(
                    first,
                    last,
                    reached,
                    point(old, first),
                    point(old, last),
                    point(self.data, reached),
                )
            )

    def _recount(self, start: int, end: int, moved: int) -> None:
        """Line starts after an edit: those of the lines around it are looked up again.

        A `\\n` written after a `\\r` joins it, so the line before and the one after count as well.
        """
        starts = self._starts
        first = max(0, bisect.bisect_right(starts, start) - 2)
        last = bisect.bisect_right(starts, end + 1)
        begin = starts[first]
        until = starts[last] + moved if last < len(starts) else len(self.text)
        again = line_starts(self.text[begin:until], begin)
        if last < len(starts) and again[-1] == until:
            again.pop()
        self._starts = [*starts[:first], *again, *(at + moved for at in starts[last:])]

    # --- positions

    @property
    def line_count(self) -> int:
        """Lines, the one after the last line break included."""
        return len(self._starts)

    def line(self, number: int) -> str:
        """A line with what ends it; "" past the end."""
        if not 0 <= number < len(self._starts):
            return ""
        end = self._starts[number + 1] if number + 1 < len(self._starts) else len(self.text)
        return self.text[self._starts[number] : end]

    def line_start(self, number: int) -> int:
        """The offset at which a line begins."""
        return self._starts[number] if number < len(self._starts) else len(self.text)

    def offset_at(self, position: types.Position) -> int:
        """The offset of a position; one past a line's or the text's end is its end."""
        if position.line >= len(self._starts):
            return len(self.text)
        number = max(0, position.line)
        return self._starts[number] + index_in(self.line(number), position.character, self.encoding)

    def position_at(self, offset: int) -> types.Position:
        """The position of an offset."""
        number = self.line_at(offset)
        head = self.text[self._starts[number] : offset]
        return types.Position(line=number, character=width(head, self.encoding))

    def line_at(self, offset: int) -> int:
        """The number of the line that holds an offset."""
        return bisect.bisect_right(self._starts, offset) - 1

    def range(self, start: int, end: int) -> types.Range:
        """A range between two offsets."""
        return types.Range(start=self.position_at(start), end=self.position_at(end))

    def byte_at(self, offset: int) -> int:
        """How many bytes come before an offset."""
        if self._ascii:
            return offset
        number = self.line_at(offset)
        head = self.text[self._starts[number] : offset]
        return self._line_bytes[number] + len(head.encode("utf-8", "surrogatepass"))

    def char_at(self, byte: int) -> int:
        """The offset that comes after so many bytes (at the start of a character)."""
        if self._ascii:
            return byte
        number = bisect.bisect_right(self._line_bytes, byte) - 1
        head = self.data[self._line_bytes[number] : byte]
        return self._starts[number] + len(head.decode("utf-8", "surrogatepass"))

    @property
    def _line_bytes(self) -> list[int]:
        """The byte at which each line begins."""
        if self._bytes is None:
            at, found = 0, []
            for number in range(len(self._starts)):
                found.append(at)
                at += len(self.line(number).encode("utf-8", "surrogatepass"))
            self._bytes = found
        return self._bytes

    # --- functions

    @property
    def functions(self) -> list[Function]:
        """The functions in order of place; [] where the language is none of ours."""
        if self._functions is None:
            self._functions = self._syntax.functions(self.data) if self._syntax else []
        return self._functions

    @property
    def imports(self) -> str:
        """The names of what it imports, with commas between."""
        if self._imports is None:
            self._imports = self._syntax.imports(self.data) if self._syntax else ""
        return self._imports

    def function_at(self, offset: int) -> Function | None:
        """The innermost function around an offset, its documentation included."""
        byte, found = self.byte_at(offset), None
        for function in self.functions:
            if min(function.start_byte, function.doc_start) > byte:
                break
            if byte <= max(function.end_byte, function.doc_end):
                found = function
        return found

    def function_named(self, name: str, near: int = 0) -> Function | None:
        """The function of a qualified name, the nearest to a byte where several have it."""
        named = [one for one in self.functions if one.qualified_name == name]
        return min(named, key=lambda one: abs(one.start_byte - near), default=None)

    def functions_within(self, where: types.Range) -> Iterator[Function]:
        """Functions that begin inside a range."""
        start, end = (
            self.byte_at(self.offset_at(where.start)),
            self.byte_at(self.offset_at(where.end)),
        )
        for function in self.functions:
            if start <= function.start_byte <= end:
                yield function

    def first_line(self, function: Function) -> int:
        """The number of the line that a function's declaration begins on."""
        return self.line_at(self.char_at(function.start_byte))


class Documents:
    """The open documents by URI, however its characters are escaped."""

    def __init__(self) -> None:
        self.encoding: Encoding = "utf-16"
        self._open: dict[str, Document] = {}

    def open(self, item: types.TextDocumentItem) -> Document:
        """A document the editor now owns."""
        document = Document(
            item.uri,
            item.text,
            version=item.version,
            language_id=item.language_id,
            encoding=self.encoding,
        )
        self._open[unquote(item.uri)] = document
        return document

    def change(self, params: types.DidChangeTextDocumentParams) -> Document | None:
        """The changed document; None where it is not open."""
        document = self.get(params.text_document.uri)
        if document is not None:
            document.apply(params.content_changes, params.text_document.version)
        return document

    def close(self, uri: str) -> Document | None:
        """Forget a document."""
        return self._open.pop(unquote(uri), None)

    def get(self, uri: str) -> Document | None:
        """An open document."""
        return self._open.get(unquote(uri))

    def __iter__(self) -> Iterator[Document]:
        return iter(list(self._open.values()))


def path_of(uri: str) -> Path | None:
    """The file of a `file:` URI."""
    if not uri.startswith("file:"):
        return None
    found = to_fs_path(uri)
    return Path(found) if found else None


def language_for(language_id: str, path: Path | None, data: bytes = b"") -> Language | None:
    """By the editor's own name for the language; by the file's ending where it has none.

    None: none of ours, or a name that we do not know: never a guess.
    """
    name = NAMES.get(language_id, language_id)
    if name and is_language(name):
        return find_language(name)
    if path is None or name not in UNNAMED:
        return None
    return language_of(path, data[:4096])
