"""A statement that never runs, put before one of the function's own, drawn at random."""

from __future__ import annotations

from codeprompt.bench.transforms.base import Source, Transform

NEVER = {
    "python": "if False:\n{0}    unused = 0\n{0}",
    "c": "if (0) {{ int unused = 0; (void)unused; }}\n{0}",
    "cpp": "if (0) {{ int unused = 0; (void)unused; }}\n{0}",
    "java": "if (false) {{ int unused = 0; }}\n{0}",
    "c-sharp": "if (false) {{ int unused = 0; }}\n{0}",
    "javascript": "if (false) {{ const unused = 0; }}\n{0}",
    "typescript": "if (false) {{ const unused = 0; }}\n{0}",
    "go": "if false {{ unused := 0; _ = unused }}\n{0}",
    "php": "if (false) {{ $unused = 0; }}\n{0}",
    "ruby": "unused = 0 if false\n{0}",
}
NO_STATEMENTS = ("comment", "line_comment", "block_comment", "case_statement", "preproc_else")


def change(source: Source) -> bytes | None:
    """Nothing goes before a Python docstring, nor into a body that is one expression."""
    body, text = source.body(), NEVER.get(source.language.name)
    if body is None or text is None:
        return None
    places = [
        node
        for at, node in enumerate(body.named_children)
        if node.type not in NO_STATEMENTS and not (at == 0 and _is_text(source, node.start_byte))
    ]
    places = [node for node in places if _indent(source.data, node.start_byte) is not None]
    if not places or body.type.endswith("expression_clause"):
        return None
    at = source.random.choice(places).start_byte
    indent = _indent(source.data, at) or b""
    new = text.format(indent.decode())
    if b"\n" not in source.data.strip():  # one line stays one line
        new = new.replace("\n", " ")
    return source.edited([(at, at, new.encode())])


def _is_text(source: Source, at: int) -> bool:
    return source.language.docs == "inside" and source.data[at : at + 1] in b"\"'rRuUbB"


def _indent(data: bytes, at: int) -> bytes | None:
    """The white space before a statement that begins its line; None for one that does not.

    Text on one line altogether is fine where line ends mean nothing.
    """
    before = data[:at].rpartition(b"\n")[2]
    if not before.strip():
        return before
    return b"" if b"\n" not in data.strip() and b"{" in before else None


TRANSFORM = Transform(change)
