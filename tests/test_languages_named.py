"""Languages by file, name and alias, and texts on one line or spaced."""

from __future__ import annotations

import pytest

from codeprompt.errors import DataError
from codeprompt.languages import find_language, find_languages, language_of, needed_language
from codeprompt.languages.functions import (
    is_spaced,
    one_line,
    spaced,
)
from codeprompt.registry import LANGUAGES


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.PY", "python"),
        ("x.h", "c"),
        ("x.hpp", "cpp"),
        ("x.cs", "c-sharp"),
        ("x.tsx", "typescript"),
        ("x.mjs", "javascript"),
        ("Makefile", None),
        ("x.rs", None),
    ],
)
def test_a_file_tells_its_language(path: str, name: str | None) -> None:
    found = language_of(path)
    assert (found.name if found else None) == name


def test_a_header_is_cpp_where_its_lines_say_so() -> None:
    found = [language_of("x.h", data) for data in (b"int f(void);", b"\n  template <class T>\n")]
    assert [language.name for language in found if language] == ["c", "cpp"]


@pytest.mark.parametrize("alias", ["cs", "csharp", "C#", "c_sharp", "c-sharp"])
def test_an_alias_finds_the_language(alias: str) -> None:
    assert find_language(alias).name == "c-sharp"


def test_an_unknown_language_is_answered_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"Unknown language 'pyton'.*java.*python.*'python'\?"):
        find_language("pyton")
    with pytest.raises(DataError, match=r"x\.rs has no extension.*\.java"):
        needed_language("x.rs")


def test_no_two_languages_share_a_name_or_an_extension() -> None:
    every = find_languages(None)
    names = [name for language in every for name in (language.name, *language.aliases)]
    endings = [ending for language in every for ending in language.extensions]
    assert len(names) == len(set(names)) and len(endings) == len(set(endings))
    assert [language.name for language in every] == LANGUAGES.names()


def test_a_text_goes_on_one_line_as_translation_pairs_are_written() -> None:
    """Without comments and indentation; words stay apart; what needs its lines keeps them."""
    text = """public int area(int w) // why
{
    /* as it is */ if (w < 0)
        throw new X();
    String s = "// no comment";
    return
        w;
}
"""
    wanted = 'public int area(int w){if (w < 0)throw new X();String s = "// no comment";return w;}'
    assert one_line(text, "java") == wanted
    python = "def f():\n    return 1\n"
    assert one_line(python, "python") == python


def test_a_text_is_spaced_once() -> None:
    """Every line gets an empty one behind it, once; a single line has no layout."""
    plain = "int f()\n{\n\n    return 1;\n}\n"
    assert spaced(plain) == "int f()\n\n{\n\n\n\n    return 1;\n\n}\n\n"
    assert spaced(spaced(plain)) == spaced(plain) == spaced(plain.replace("\n", "\r\n"))
    assert is_spaced(spaced(plain)) and not is_spaced(plain) and not is_spaced("int f();")
