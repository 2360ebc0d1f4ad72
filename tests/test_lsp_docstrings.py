"""Documentation in each style: inserted and replaced; the text around it stays, and parses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeprompt.languages.functions import Function, functions, parses
from lsp_server.docstrings import NAMES, documentation_edit
from lsp_server.docstrings.edit import newline_of
from lsp_server.edits import sentence

SUMMARY = "Return the sum of both."


def written(text: str, language: str, summary: str = SUMMARY, name: str = "f", **how: str) -> str:
    """The text with the documentation of a function."""
    found = functions(text, language)
    function = next(one for one in found if one.name.lower() == name)
    edit = documentation_edit(function, found, summary, **how)
    assert edit is not None
    data = text.encode()
    made = data[: edit.start] + edit.text.encode() + data[edit.end :]
    assert parses(made, language)
    return made.decode()


def again(text: str, language: str, name: str = "f") -> Function:
    """The function as it is found afterwards."""
    return next(one for one in functions(text, language) if one.name.lower() == name)


INSERTED = {
    "google": (
        "python",
        "def f(a, b):\n    return a + b\n",
        'def f(a, b):\n    """Return the sum of both."""\n    return a + b\n',
    ),
    "numpy": (
        "python",
        'def g(x):\n    """G.\n\n    Parameters\n    ----------\n    x\n        An x.\n    """\n'
        "def f(a):\n    return a\n",
        'def f(a):\n    """Return the sum of both.\n\n    Parameters\n    ----------\n    a\n'
        '        TODO\n\n    Returns\n    -------\n    TODO\n    """\n    return a\n',
    ),
    "sphinx": (
        "python",
        "def g(x):\n    '''G.\n\n    :param x: an x\n    '''\n\n\ndef f(a):\n    return a\n",
        "def f(a):\n    '''Return the sum of both.\n\n    :param a: TODO\n    :returns: TODO\n"
        "    '''\n    return a\n",
    ),
    "javadoc": (
        "java",
        "class A {\n    @Override\n    int f(int a) { return a; }\n}\n",
        "class A {\n    /**\n     * Return the sum of both.\n     */\n    @Override\n"
        "    int f(int a) { return a; }\n}\n",
    ),
    "xmldoc": (
        "c-sharp",
        "class A {\n    [Obsolete]\n    int F(int a) { return a; }\n}\n",
        "class A {\n    /// <summary>\n    /// Return the sum of both.\n    /// </summary>\n"
        "    [Obsolete]\n    int F(int a) { return a; }\n}\n",
    ),
    "jsdoc": (
        "typescript",
        "class A {\n  @dec()\n  f(a: number) { return a }\n}\n",
        "class A {\n  /**\n   * Return the sum of both.\n   */\n  @dec()\n"
        "  f(a: number) { return a }\n}\n",
    ),
    "doxygen": (
        "c",
        "/*! \\brief G. */\nint g(int a) { return a; }\n\nint f(int b) { return b; }\n",
        "/*! \\brief Return the sum of both. */\nint f(int b) { return b; }\n",
    ),
    "godoc": (
        "go",
        "package p\n\nfunc F(a int) int { return a }\n",
        "package p\n\n// F return the sum of both.\nfunc F(a int) int { return a }\n",
    ),
    "rdoc": (
        "ruby",
        "class A\n  def f(x)\n    x\n  end\nend\n",
        "class A\n  # Return the sum of both.\n  def f(x)\n    x\n  end\nend\n",
    ),
    "phpdoc": (
        "php",
        "<?php\nclass A {\n    /** G. */\n    function g() {}\n"
        "    function f($a) { return $a; }\n}\n",
        "    /** Return the sum of both. */\n    function f($a) { return $a; }\n}\n",
    ),
}


def test_every_style_has_a_case() -> None:
    """The table below is whole."""
    assert set(INSERTED) == set(NAMES)


@pytest.mark.parametrize("style", NAMES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_documentation_is_inserted_in_the_file_s_own_way(style: str, newline: str) -> None:
    """Quotes, openings, commands, one line or several, sections, indentation, line breaks."""
    language, text, end = INSERTED[style]
    made = written(text.replace("\n", newline), language)
    assert made.endswith(end.replace("\n", newline))
    assert newline_of(made.encode()) == newline


@pytest.mark.parametrize("style", NAMES)
def test_documentation_is_found_again_and_replaced_by_the_same_edit(style: str) -> None:
    """Writing it twice changes nothing the second time."""
    language, text, _ = INSERTED[style]
    once = written(text, language)
    assert again(once, language).doc
    assert written(once, language) == once


REPLACED = {
    "python": (
        'def f(a):\n    """Old\n    text.\n\n    Args:\n        a: an a\n    """\n    return a\n',
        'def f(a):\n    """Return the sum of both.\n\n    Args:\n        a: an a\n    """\n'
        "    return a\n",
    ),
    "java": (
        "class A {\n  /**\n   * Old.\n   *\n   * @param a an a\n   */\n"
        "  int f(int a) { return a; }\n}\n",
        "class A {\n  /**\n   * Return the sum of both.\n   *\n   * @param a an a\n   */\n"
        "  int f(int a) { return a; }\n}\n",
    ),
    "c-sharp": (
        "class A {\n    /// <summary>\n    /// Old.\n    /// </summary>\n"
        '    /// <param name="a">an a</param>\n    int F(int a) { return a; }\n}\n',
        "class A {\n    /// <summary>\n    /// Return the sum of both.\n    /// </summary>\n"
        '    /// <param name="a">an a</param>\n    int F(int a) { return a; }\n}\n',
    ),
    "go": (
        "package p\n\n// F is old.\n//\n// More of it.\nfunc F(a int) int { return a }\n",
        "package p\n\n// F return the sum of both.\n//\n// More of it.\n"
        "func F(a int) int { return a }\n",
    ),
    "cpp": (
        "/// Old.\n/// @param a an a\nint f(int a) { return a; }\n",
        "/// Return the sum of both.\n/// @param a an a\nint f(int a) { return a; }\n",
    ),
    "ruby": (
        "# Old.\n# @param x [Integer] an x\ndef f(x)\n  x\nend\n",
        "# Return the sum of both.\n# @param x [Integer] an x\ndef f(x)\n  x\nend\n",
    ),
}


@pytest.mark.parametrize("language", REPLACED)
def test_the_first_paragraph_is_replaced_and_the_rest_stays(language: str) -> None:
    """Parameters and examples are people's."""
    text, wanted = REPLACED[language]
    assert written(text, language) == wanted


def test_a_one_line_body_becomes_a_block() -> None:
    """With the file's own step of indentation."""
    assert written("class A:\n\tdef f(self): return 1\n", "python") == (
        'class A:\n\tdef f(self):\n\t\t"""Return the sum of both."""\n\t\treturn 1\n'
    )


def test_a_style_can_be_set_and_sections_asked_for() -> None:
    """Whatever the file does."""
    text = written("def f(a):\n    return a\n", "python", style="numpy", sections="always")
    assert "Parameters\n    ----------" in text
    text = written(INSERTED["sphinx"][1], "python", sections="never")
    assert ":param a" not in text


def test_a_declaration_without_a_body_has_no_docstring() -> None:
    """There is no place for one."""
    found = functions("int f(int a);\nint g(int a) { return a; }\n", "c")
    assert [one.name for one in found] == ["g"]


PARTS = [*"abc .'\"\\*/<>&#\t\u00e9\U0001f600", '"""', "'''", "*/", "\\N{"]
NASTY = st.lists(st.sampled_from(PARTS), min_size=1, max_size=40).map(
    lambda parts: " ".join("".join(parts).split())
).filter(bool)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(summary=NASTY, case=st.sampled_from(sorted(INSERTED)))
def test_whatever_the_model_writes_the_file_still_parses(summary: str, case: str) -> None:
    """Quotes, ends of comments, markup and backslashes stay inside the documentation."""
    language, text, _ = INSERTED[case]
    before = [one.qualified_name for one in functions(text, language)]
    made = written(text, language, summary)
    assert [one.qualified_name for one in functions(made, language)] == before
    assert parses(written(made, language, summary), language)


def test_a_summary_becomes_a_sentence() -> None:
    """A capital and a full stop, unless it begins with a name or ends already."""
    assert sentence("adds two\n numbers") == "Adds two numbers."
    assert sentence("`x` wins!") == "`x` wins!"
    assert sentence("getX returns x") == "getX returns x."
