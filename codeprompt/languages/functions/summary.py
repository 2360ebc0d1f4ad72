"""The first sentence of a documentation comment, in plain words.

One cleaner for all conventions, since real projects mix them: docstrings (reStructuredText, NumPy,
Google, Epytext), Javadoc, JSDoc/TSDoc, Doxygen, kernel-doc, C#'s XML, godoc, RDoc/YARD, PHPDoc.
Marks are stripped, inline tags give their text, and what follows the description (parameters,
returns, sections, examples) is left out.
"""

from __future__ import annotations

import html
import inspect
import re

from codeprompt.languages.base import Language

QUOTED = re.compile(r"""(\"{3}|'{3}|"|')((?:\\.|.)*?)\1""", re.DOTALL)
# Words whose full stop ends no sentence.
SHORT = re.compile(
    r"(?:^|[\s(\[])(?:e\.g|i\.e|etc|vs|cf|al|resp|approx|fig|eq|no|sec|ref|dr|mr|ms|st|incl|excl|(?-i:[A-Z]))\.$",
    re.IGNORECASE,
)
STOP = re.compile(r"""[.!?]["')\]]*(?=\s+\S|$)""")
HTML_TAG = re.compile(
    r"</?(?:b|i|em|strong|code|tt|pre|ul|ol|li|a|h\d|blockquote|div|span|table|thead|tbody|tr|td|th"
    r"|font|su[bp]|u|center|dl|dt|dd|hr|img|var|kbd|samp|small|big|cite|q|s|del|ins|nobr)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
PARAGRAPH_TAG = re.compile(r"</?(?:p|br|para)(?:\s[^<>]*)?/?>", re.IGNORECASE)
TAG = re.compile(r"^[@\\]([A-Za-z_][\w-]*)(?:\[[^\]]*\])?:?\s*(.*)$")
OPENS_DESCRIPTION = {"brief", "short", "desc", "description", "summary", "details", "remarks"}
NAMES_THE_FUNCTION = {"fn", "function", "func", "method", "name", "memberof", "class", "overload"}
FIELD = re.compile(r"^(?::[a-zA-Z][\w ]*(?:\s[^:`]*)?:(?:\s|$)|@[a-z]+(?:\s+\*?\w+)?:\s)")
SECTION = re.compile(
    r"^(?:args?|arguments?|param(?:eter)?s?|returns?|yields?|raises?|throws|examples?|notes?|usage"
    r"|attributes|keyword arg(?:ument)?s|kwargs|references|see also|inputs?|outputs?|call-seq|warns"
    r"|other parameters|options?|todo)\s*:{1,2}\s*$",
    re.IGNORECASE,
)
UNDERLINE = re.compile(r"^([-=~*#+^_/])\1{2,}$")
DIRECTIVE = re.compile(r"^\.\.\s+[\w-]+::")
ENDINGS = (FIELD, SECTION, DIRECTIVE, re.compile(">>>|```"))
# Doxygen's commands that mark a word within a sentence.
INLINE = {"c", "p", "a", "e", "em", "b", "ref"}
KERNEL_NAME = r"^\*?\s*{name}\s*(?:\(\))?\s*(?:[-–—]+|:)\s+(?=\S)"


def summary_of(doc: str, language: Language, name: str = "") -> str:
    """One line: the first sentence of `doc`'s description; "" where only tags are left.

    doc: the documentation as written, with its quotes or comment marks.
    name: the function's; a leading `name - ` is no part of a sentence.
    """
    text = _unquoted(doc) if language.docs == "inside" else _uncommented(doc, language)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if language.docs == "before":
        text = _without_markup(text)
    text = _first_sentence(_inline(_first_paragraph(text)))
    if name:
        text = re.sub(KERNEL_NAME.format(name=re.escape(name)), "", text)
    return text


def _unquoted(literal: str) -> str:
    """The text of a Python string, dedented; escapes stay as they are written."""
    pieces = [piece[1] for piece in QUOTED.findall(literal)]
    text = "".join(pieces) if pieces else literal
    return inspect.cleandoc(text.replace("\\\r\n", "").replace("\\\n", ""))


def _uncommented(doc: str, language: Language) -> str:
    """The lines of a comment without what marks them as one."""
    marks = "|".join(re.escape(mark) for mark in language.line_comments)
    line_mark = re.compile(rf"^\s*(?:{marks}) ?")
    block = doc.lstrip().startswith(("/*", "=begin"))
    lines = []
    for line in doc.splitlines():
        if block:
            line = re.sub(r"^\s*/\*+[!<]?", "", line)
            line = re.sub(r"\**\*/\s*$", "", line)
            line = re.sub(r"^\s*\*+(?!\*) ?", "", line)
            line = "" if line.startswith(("=begin", "=end")) else line
        else:
            line = line_mark.sub("", line)
        lines.append(line.rstrip())
    return inspect.cleandoc("\n".join(lines))


def _without_markup(text: str) -> str:
    """XML documentation, Javadoc's inline tags and HTML reduced to their text."""
    xml = re.search(r"<summary>(.*?)(?:</summary>|$)", text, re.DOTALL | re.IGNORECASE)
    if xml:
        text = xml[1]
    elif re.search(r"<(?:param|returns|inheritdoc|exception|remarks|typeparam)\b", text):
        text = re.sub(
            r"(?s)<(param|returns|exception|remarks|typeparam|example)\b.*?</\1>", "", text
        )
        text = re.sub(r"<inheritdoc\b[^>]*>", "", text)
    text = re.sub(
        r"""<(?:see|seealso|paramref|typeparamref)\s+\w+\s*=\s*["']([^"']*)["']\s*/?>""",
        lambda match: _short(re.sub(r"^[A-Z]:", "", match[1])),
        text,
    )
    text = re.sub(r"</?(?:c|see|seealso|list|item|term|value|paramref)\b[^<>]*>", "", text)
    text = re.sub(r"\{@inheritDoc\}", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\{@return\s+([^{}]*)\}", r"Returns \1.", text)
    text = re.sub(r"\{@(?:link|linkplain|see|tutorial)\s+([^{}]*)\}", _link, text)
    text = re.sub(r"\{@\w+\s+((?:[^{}]|\{[^{}]*\})*)\}", r"\1", text)
    text = HTML_TAG.sub("", PARAGRAPH_TAG.sub("\n\n", text))
    return html.unescape(text).replace("\xa0", " ")


def _link(match: re.Match[str]) -> str:
    """`{@link Foo#bar(int) label}` or `{@link Foo | label}`: the label, else `Foo.bar`."""
    plain = re.sub(r"\([^()]*\)", "", match[1].strip())
    target, _, label = plain.partition("|" if "|" in plain else " ")
    return label.strip() or target.strip().lstrip("#").replace("#", ".")


def _short(name: str) -> str:
    """The last part of a dotted name, without arguments and arity."""
    return re.sub(r"[({`].*$", "", name).rsplit(".", 1)[-1] or name


def _first_paragraph(text: str) -> str:
    """The lines of the description up to a blank line, a tag or a section."""
    lines: list[str] = []
    skipping = False
    for raw in text.split("\n"):
        line = raw.strip()
        if not line:
            if lines:
                break
            skipping = False
            continue
        tag = TAG.match(line)
        if tag and tag[1].lower() in OPENS_DESCRIPTION:
            if lines:
                break
            lines, skipping = [tag[2]] if tag[2] else [], False
        elif tag and tag[1].lower() not in INLINE:
            if lines:
                break
            skipping = bool(tag[2]) and tag[1].lower() not in NAMES_THE_FUNCTION
        elif any(ending.match(line) for ending in ENDINGS):
            if lines:
                break
            skipping = True
        elif UNDERLINE.match(line) or re.fullmatch(r":nodoc:.*|go:\w+.*|[-=*/#~_+ ]{3,}", line):
            if len(lines) == 1 and SECTION.match(lines[0] + ":"):
                return ""
        elif not skipping:
            lines.append(line)
    return " ".join(lines)


def _inline(text: str) -> str:
    """Inline marks of reStructuredText, Markdown, Doxygen and RDoc reduced to their text."""
    text = re.sub(
        r":[\w:+.-]+:`([^`]*)`",
        lambda m: (
            re.sub(r"\s*<[^<>]*>$", "", m[1])
            if " " in m[1]
            else (m[1].rsplit(".", 1)[-1] if m[1].startswith("~") else m[1].lstrip("!"))
        ),
        text,
    )
    text = re.sub(r"`([^`<>]+?)\s*<[^`<>]+>`__?", r"\1", text)
    text = re.sub(r"!?\[([^\[\]]+)\]\((?:[^()\s]+)\)", r"\1", text)
    text = re.sub(r"[@\\](?:c|p|a|e|em|b|ref|code|endcode)\s+(?=\S)", "", text)
    text = re.sub(r"`+([^`]*)`+_{0,2}", r"\1", text).replace("``", "")
    text = re.sub(r"(?<!\w)\+([\w.#:]+)\+(?!\w)", r"\1", text)
    text = re.sub(r"(?<![\w*])(\*{1,2})(?=\w)([^*]+?)(?<=\w)\1(?![\w*])", r"\2", text)
    return " ".join(text.split())


def _first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence; all of it where there is none."""
    for stop in STOP.finditer(text):
        head = text[: stop.end()]
        rest = text[stop.end() :].lstrip()
        if SHORT.search(head) and rest:
            continue
        if rest and not re.match(r"""["'(\[<{*]*[A-Z0-9`$_]""", rest):
            continue
        return head
    return text
