"""Documents under edits: lines, positions and functions are those of a reference."""

from __future__ import annotations

import random
import re

import pytest
from lsprotocol import types

from codeprompt.languages.functions import functions
from lsp_server.documents import Document, Documents, language_for, path_of
from lsp_server.positions import Encoding

PIECES = [
    "\n", "\r\n", "\r", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029", "a", "bc", "é", "ß", "漢",
    "\U0001d54f", "\U0001f600", "e\u0301", "\u200d", "\ufeff", "\t", " ",
    "def f(x):\n    return x\n",
    '"""doc"""', "class A:\r\n    pass\r\n", "#", "\ud83d",
]  # fmt: skip
ENCODINGS: list[Encoding] = ["utf-8", "utf-16", "utf-32"]


def unit(sign: str, encoding: Encoding) -> int:
    """Units of one character, told apart from the code under test."""
    if encoding == "utf-32":
        return 1
    if encoding == "utf-16":
        return len(sign.encode("utf-16-le", "surrogatepass")) // 2
    return len(sign.encode("utf-8", "surrogatepass"))


class Reference:
    """The same text as a list of (line, units) computed from scratch at every step."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.text, self.encoding = text, encoding

    def position(self, offset: int) -> types.Position:
        """The line and column before a code point, counted one by one."""
        line = column = 0
        text = self.text
        for index in range(offset):
            sign = text[index]
            ends = sign == "\n" or (sign == "\r" and text[index + 1 : index + 2] != "\n")
            if ends:
                line, column = line + 1, 0
            else:
                column += unit(sign, self.encoding)
        return types.Position(line=line, character=column)

    def splice(self, start: int, end: int, new: str) -> None:
        """The edit itself."""
        self.text = self.text[:start] + new + self.text[end:]


def between_break(text: str, offset: int) -> bool:
    """Whether an offset parts a `\\r\\n`: no position of LSP does."""
    return text[offset - 1 : offset + 1] == "\r\n"


def random_edit(document: Reference, rng: random.Random) -> types.TextDocumentContentChangePartial:
    """An edit at valid positions, applied to the reference."""
    text = document.text
    while True:
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 0, 1, 2, 5, 12]))
        if len(text) > 300:
            end = min(len(text), start + rng.randrange(60))
        if not between_break(text, start) and not between_break(text, end):
            break
    new = "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 1, 2, 4])))
    where = types.Range(start=document.position(start), end=document.position(end))
    document.splice(start, end, new)
    return types.TextDocumentContentChangePartial(range=where, text=new)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ten_thousand_random_edits_keep_text_lines_and_bytes(encoding: Encoding) -> None:
    """A third of 10,000 edits in each encoding; all newlines, astral and combining characters."""
    rng = random.Random(f"edits {encoding}")
    reference = Reference("", encoding)
    document = Document("file:///a.py", "", language_id="python", encoding=encoding)
    for step in range(3334):
        document.apply([random_edit(reference, rng)], step)
        assert document.text == reference.text, step
        starts = [0, *(m.end() for m in re.finditer(r"\r\n|\r|\n", reference.text))]
        assert [document.line_start(n) for n in range(document.line_count)] == starts, step
        offset = rng.randrange(len(reference.text) + 1)
        byte = len(reference.text[:offset].encode("utf-8", "surrogatepass"))
        assert (document.byte_at(offset), document.char_at(byte)) == (byte, offset)
        if not between_break(reference.text, offset):
            assert document.position_at(offset) == reference.position(offset)
        if step % 50 == 0:
            found = [(f.qualified_name, f.start_byte, f.end_byte) for f in document.functions]
            fresh = functions(document.data, "python")
            assert found == [(f.qualified_name, f.start_byte, f.end_byte) for f in fresh], step


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_several_changes_of_one_notification_apply_in_order(encoding: Encoding) -> None:
    """Each change counts on the text that the one before it left."""
    rng = random.Random(f"batches {encoding}")
    reference = Reference("x = 1\n", encoding)
    document = Document("file:///a.py", "x = 1\n", language_id="python", encoding=encoding)
    for step in range(200):
        document.apply([random_edit(reference, rng) for _ in range(rng.randrange(1, 6))], step)
        assert document.text == reference.text


@pytest.mark.parametrize(
    "separator", ["\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_what_python_takes_for_a_line_break_is_none(separator: str) -> None:
    """An edit after a form feed and its kin lands on the line that the editor means."""
    document = Document("file:///a.py", f"a{separator}b\nc\n", language_id="python")
    at = types.Position(line=1, character=0)
    document.apply(
        [types.TextDocumentContentChangePartial(range=types.Range(start=at, end=at), text="X")], 2
    )
    assert document.text == f"a{separator}b\nXc\n"


def test_a_position_past_the_end_is_the_end() -> None:
    """Of its line, before what ends it, and of the text."""
    document = Document("file:///a.py", "ab\r\ncd", language_id="python")
    assert document.offset_at(types.Position(line=0, character=99)) == 2
    assert document.offset_at(types.Position(line=9, character=0)) == 6


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 4), ("utf-16", 2), ("utf-32", 1)])
def test_a_column_counts_in_the_agreed_encoding(encoding: Encoding, column: int) -> None:
    """Tree-sitter's columns are bytes; ours are what the editor asked for."""
    text = "\U0001f600 = lambda: 0; f = 1\n"
    document = Document("file:///a.py", text, language_id="python", encoding=encoding)
    assert document.position_at(1) == types.Position(line=0, character=column)
    assert document.offset_at(types.Position(line=0, character=column)) == 1


@pytest.mark.parametrize(("encoding", "inside"), [("utf-8", 2), ("utf-16", 1)])
def test_a_position_inside_a_character_is_the_one_before_it(
    encoding: Encoding, inside: int
) -> None:
    """Never half of a surrogate pair or of a sequence of bytes."""
    document = Document("file:///a.py", "\U0001f600x", language_id="python", encoding=encoding)
    assert document.offset_at(types.Position(line=0, character=inside)) == 0


def test_functions_follow_edits_in_every_language() -> None:
    """A function typed letter by letter is found as in a text read from disk."""
    texts = {
        "a.ts": "export const f = (a: number): number => { return a }\n"
        "class A { g() { return 1 } }\n",
        "a.tsx": "const V = () => <b>{1}</b>\nfunction g() { return 2 }\n",
        "a.php": "<?php\nfunction f($a) { return $a; }\n",
        "a.go": "package p\n\nfunc F(a int) int { return a }\n",
        "a.rb": "class A\n  def f(x)\n    x\n  end\nend\n",
    }
    for name, text in texts.items():
        document = Document(f"file:///{name}", "", encoding="utf-32")
        assert document.language is not None, name
        for sign in text:
            at = document.position_at(len(document.text))
            where = types.Range(start=at, end=at)
            document.apply([types.TextDocumentContentChangePartial(range=where, text=sign)], 1)
            assert isinstance(document.functions, list)
        fresh = functions(text, document.language)
        assert [f.qualified_name for f in document.functions] == [f.qualified_name for f in fresh]
        assert document.functions, name


def test_a_full_change_replaces_everything() -> None:
    """Editors without incremental edits send the whole text."""
    document = Document("file:///a.py", "def f(): pass\n", language_id="python")
    assert [f.name for f in document.functions] == ["f"]
    document.apply([types.TextDocumentContentChangeWholeDocument(text="def g(): pass\n")], 7)
    assert (document.version, [f.name for f in document.functions]) == (7, ["g"])


def test_binary_text_has_no_functions() -> None:
    """A NUL byte ends the search, not the server."""
    assert Document("file:///a.py", "def f(): pass\n\0", language_id="python").functions == []


def test_an_unknown_language_is_never_guessed() -> None:
    """The editor's word counts before the file's ending."""
    path = path_of("file:///a/x.h")
    assert language_for("cpp", path) is not None
    assert language_for("objective-c", path) is None
    assert language_for("", path_of("file:///a/x.zig")) is None
    assert language_for("", path_of("untitled:Untitled-1")) is None


def test_a_document_is_found_however_its_uri_is_escaped() -> None:
    """VS Code writes `c%3A`, others `c:`."""
    documents = Documents()
    documents.open(
        types.TextDocumentItem(uri="file:///c%3A/a.py", language_id="python", version=1, text="")
    )
    assert documents.get("file:///c:/a.py") is not None
    assert documents.close("file:///c:/a.py") is not None
    assert documents.get("file:///c%3A/a.py") is None
