"""What a language is to codeprompt, and how to find one by name or by file.

A language is data: a tree-sitter grammar, the node types that matter, and how its documentation
comments attach. `languages/java.py` is the language `java` and defines `LANGUAGE`; an alias (`cs`)
or an extension (`.cs`) finds it too. No grammar is imported before text is parsed.

Node types are matched in a walk of our own rather than by a tree-sitter query: a query is quadratic
in the children of one node (39 s on a list of 3.3 million items, 8 s on 100,000 open brackets).
"""

from __future__ import annotations

import difflib
import functools
import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codeprompt.errors import DataError
from codeprompt.registry import LANGUAGES

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar

CPLUSPLUS = re.compile(
    rb"(?m)^\s*(?:class\s+\w|namespace\b|template\s*<|using\s+\w|public:|private:)"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One programming language, as plain data.

    name: the registry's name, e.g. `c-sharp`. title: as people write it, e.g. `C#`.
    extensions: of its files, lower case with the dot.
    grammars: `module:function`, each giving a grammar; the first that parses without error wins.
    functions: node types of functions, methods and constructors.
    scopes: node types of classes, modules and namespaces, which qualify the names inside them.
    comments: node types of comments.
    skips: node types that may stand between a comment and its function (decorators).
    outers: node types of wrappers that belong to a declaration (`export`, `template<>`).
    assigned: node types of anonymous functions; they count where an anchor names them.
    anchors: (node type, field of the function) of what names one: `const f = () => 1`.
    docs: `inside` (a string that opens the body) or `before` (comments above the declaration).
    doc_openings: how a comment must begin to count as documentation (docs == `before`).
    line_comments: what opens a comment of one line, longest first.
    tests: file-name patterns (fnmatch) of its test files.
    aliases: other names a user may give.
    imports: node types of what brings other files in (Ruby: calls, of `require` and the like).
    wrappers: text before and after that makes a bare method a whole file.
    separator: between the parts of a qualified name.
    tag: text without this tag is read by the last grammar alone (PHP without `<?php`).
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    grammars: tuple[str, ...]
    functions: tuple[str, ...]
    scopes: tuple[str, ...]
    comments: tuple[str, ...]
    docs: Literal["inside", "before"]
    doc_openings: tuple[str, ...]
    line_comments: tuple[str, ...]
    tests: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    outers: tuple[str, ...] = ()
    assigned: tuple[str, ...] = ()
    anchors: tuple[tuple[str, str], ...] = ()
    wrappers: tuple[tuple[str, str], ...] = ()
    imports: tuple[str, ...] = ()
    separator: str = "."
    tag: bytes = b""

    def readers(self, data: bytes) -> tuple[str, ...]:
        """The grammars to try on `data`, in order."""
        if not self.tag:
            return self.grammars
        return self.grammars[:1] if self.tag in data else self.grammars[-1:]


@functools.cache
def grammar(reader: str) -> Grammar:
    """The tree-sitter grammar that `module:function` gives."""
    from tree_sitter import Language as Grammar

    module, _, function = reader.partition(":")
    return Grammar(getattr(importlib.import_module(module), function)())


@functools.cache
def languages() -> tuple[Language, ...]:
    """Every language, in the order of names."""
    return tuple(LANGUAGES.get(name) for name in LANGUAGES.names())


@functools.cache
def _names() -> dict[str, Language]:
    named = {alias: language for language in languages() for alias in language.aliases}
    return named | {language.name: language for language in languages()}


@functools.cache
def _extensions() -> dict[str, Language]:
    return {ending: language for language in languages() for ending in language.extensions}


def speaks(asked: str, known: Iterable[str]) -> bool:
    """Whether what was made for `known` languages is for one; "" and none at all are for any."""
    known = tuple(known)
    return not asked or not known or asked in known


def find_language(name: str | Language) -> Language:
    """The language of that name or alias, in any case. Raises `DataError` with those there are."""
    if isinstance(name, Language):
        return name
    found = _names().get(name.strip().lower().replace("_", "-"))
    if found is None:
        near = difflib.get_close_matches(name.lower(), _names(), n=1, cutoff=0.5)
        raise DataError(
            f"Unknown language '{name}'",
            expected="one of: " + ", ".join(LANGUAGES.names()),
            do=f"Did you mean '{near[0]}'?" if near else "",
        )
    return found


def is_language(name: str) -> bool:
    """Whether `find_language(name)` would succeed."""
    return name.strip().lower().replace("_", "-") in _names()


def language_of(path: str | Path, data: bytes = b"") -> Language | None:
    """The language of a file, by its extension; None where we have none.

    `.h` counts as C, unless `data`, the file's text, has lines that only C++ has.
    """
    ending = Path(path).suffix.lower()
    found = _extensions().get(ending)
    return find_language("cpp") if ending == ".h" and CPLUSPLUS.search(data) else found


def needed_language(path: str | Path) -> Language:
    """`language_of`, where None is an error: a `DataError` that lists what is supported."""
    found = language_of(path)
    if found is None:
        raise DataError(
            f"{path} has no extension of a supported language",
            expected="one of: " + ", ".join(sorted(_extensions())),
            do="Name the language (--language), or give another file",
        )
    return found


def find_languages(names: Sequence[str | Language] | None) -> tuple[Language, ...]:
    """The named languages, or all of them for None."""
    return languages() if names is None else tuple(find_language(name) for name in names)
