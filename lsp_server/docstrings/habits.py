"""Which style a file has, and how it writes it: by what most of its documentation does."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from codeprompt.languages import Language
from codeprompt.languages.functions import Function
from lsp_server.docstrings.base import Habit, Style

NAMES = (
    "google",
    "numpy",
    "sphinx",
    "javadoc",
    "xmldoc",
    "jsdoc",
    "doxygen",
    "godoc",
    "rdoc",
    "phpdoc",
)
LOOKED_AT = 60
"""Documented functions that are read for a file's habit."""
NARROWEST, WIDEST = 72, 100
SECTIONS = re.compile(
    r"(?m)^\s*(?:\*|///|//!|#)?\s*(?:[@\\]param\b|:param\b|Args:|Parameters\s*$|<param\b)"
)


@cache
def styles() -> tuple[Style, ...]:
    """Every style, in the order in which they are tried."""
    modules = (importlib.import_module(f"lsp_server.docstrings.{name}") for name in NAMES)
    return tuple(module.STYLE for module in modules)


def styles_of(language: Language) -> list[Style]:
    """The styles that a language is written in; the first is its usual one."""
    return [style for style in styles() if language.name in style.languages]


def choose(
    language: Language, functions: Sequence[Function], text: str, *, wanted: str = "auto"
) -> tuple[Style, Habit] | None:
    """The style for a file and its habit. wanted: a name that wins where the language has it.

    None where the language has no style.
    """
    usable = styles_of(language)
    if not usable:
        return None
    docs = [found.doc for found in functions if found.doc_end > found.doc_start][:LOOKED_AT]
    named = [style for style in usable if style.name == wanted]
    style = named[0] if named else _commonest(usable, docs)
    return style, _habit(style, docs, text)


def _commonest(usable: Sequence[Style], docs: Iterable[str]) -> Style:
    counts = [0] * len(usable)
    for doc in docs:
        for place, style in enumerate(usable):
            if style.pattern.search(doc):
                counts[place] += 1
                break
    return usable[counts.index(max(counts))]


def _habit(style: Style, docs: Sequence[str], text: str) -> Habit:
    longest = max((len(line.rstrip("\r\n")) for line in text.split("\n")[:2000]), default=0)
    width = min(max(longest, NARROWEST), WIDEST) if text else style.habit.width
    habit = replace(style.habit, width=width)
    if not docs:
        return habit
    habit = replace(
        habit,
        sections=_most(docs, lambda doc: SECTIONS.search(doc) is not None),
        mark="\\" if _more(docs, r"\\(?:brief|param|return)", r"@(?:brief|param|return)") else "@",
        brief=_most(docs, lambda doc: re.search(r"[@\\]brief\b", doc) is not None),
    )
    if style.place == "inside":
        quote = "'''" if _more(docs, r"^\w*'''", r'^\w*"""') else '"""'
        opened = [doc for doc in docs if "\n" in doc]
        on_next = bool(opened) and _most(
            opened, lambda doc: re.match(r"^\w*(?:'''|\"\"\")\s*\n", doc) is not None
        )
        return replace(habit, quote=quote, next_line=on_next)
    short = [doc for doc in docs if len(doc) < width and not SECTIONS.search(doc)]
    if short and style.habit.opening.startswith("/*"):
        habit = replace(habit, one_line=_most(short, lambda doc: "\n" not in doc.strip()))
    if style.name == "xmldoc" and short:
        one = re.compile(r"<summary>.*</summary>")
        habit = replace(habit, one_line=_most(docs, lambda doc: one.search(doc) is not None))
    if style.name == "doxygen":
        openings = [m[0] for doc in docs if (m := re.match(r"/\*[*!]|//[/!]|/\*|//", doc))]
        common = max(set(openings), key=openings.count, default="/**")
        habit = replace(habit, opening={"/*": "/**", "//": "///"}.get(common, common))
    return habit


def _most(docs: Sequence[str], test: object) -> bool:
    return sum(bool(test(doc)) for doc in docs) * 2 > len(docs)  # type: ignore[operator]


def _more(docs: Sequence[str], left: str, right: str) -> bool:
    """Whether more documentation has the left pattern than the right one."""
    one, other = re.compile(left), re.compile(right)
    return sum(bool(one.search(d)) for d in docs) > sum(bool(other.search(d)) for d in docs)
