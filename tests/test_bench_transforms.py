"""Transformations: the text changes, the meaning does not, and what would not parse stays."""

from __future__ import annotations

from typing import Any

import pytest

from codeprompt.bench.registries import TRANSFORMS
from codeprompt.languages import find_language
from codeprompt.languages.functions import parses, tokens
from codeprompt.types import Example

PYTHON = '''\
def total(values, scale=2, *more, **named):
    """Sum and scale."""
    start = 1
    offset = 3
    count, kept = 0, []
    for value in values:
        if value in more:
            continue
        count += value * scale
        kept.append(value)
    pairs = {name: named[name] for name in sorted(named)}
    shown = f"{count:>4}" + "".join(k for k, v in pairs.items())

    def inner(value, step=offset):
        return value + step + start

    return inner(count, step=1), kept, shown, len(pairs), (lambda x: x + offset)(2)
'''
CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    (([1, 2, 3],), {}),
    (([4, 5], 3, 5), {"b": 1, "a": 2}),
)
SOURCES = {
    "python": PYTHON,
    "c": "int add(struct s *p, int *q)\n{\n    int a = 1;\n    int b = 2;\n\n    p->a = a;\n"
    "    *q = b;\n    for (int i = 0; i < a; i++) { b += i; }\n    return a + b;\n}\n",
    "java": "int add(int first, List<Integer> rest) {\n    int sum = first;\n    int more = 3;\n"
    "    this.first = first;\n    for (int one : rest) {\n        sum += one.sum(more);\n    }\n"
    "    return sum;\n}\n",
    "c-sharp": "int Add(int first, List<int> rest) {\n    int sum = first;\n    int more = 3;\n"
    "    this.first = first;\n    foreach (var one in rest) {\n        sum += one.Sum(more);\n"
    "    }\n    return sum;\n}\n",
}


def changed(name: str, language: str, text: str, key: str = "x") -> str | None:
    found: str | None = TRANSFORMS.get(name).changed(text, find_language(language), 0, key)
    return found


def test_the_transformations_are_those_of_the_suite() -> None:
    """Each with a summary."""
    names = ["dead-code", "formatting", "rename-function", "rename-locals", "reorder"]
    assert TRANSFORMS.names() == names and all(map(TRANSFORMS.summary, names))


@pytest.mark.parametrize("name", TRANSFORMS.names())
@pytest.mark.parametrize("language", SOURCES)
def test_each_changes_each_language_into_what_parses(name: str, language: str) -> None:
    """The same for the same seed and row."""
    text = SOURCES[language]
    new = changed(name, language, text)
    assert new is not None and new != text and parses(new, language)
    assert new == changed(name, language, text)


@pytest.mark.parametrize("name", TRANSFORMS.names())
@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_a_changed_python_function_does_what_it_did(name: str, key: str) -> None:
    """Run before and after, on the same arguments."""
    new = changed(name, "python", PYTHON, key)
    assert new is not None
    before, after = _run(PYTHON, "total"), _run(new, "f" if name == "rename-function" else "total")
    for arguments, named in CALLS:
        assert before(*arguments, **named) == after(*arguments, **named)


def _run(text: str, name: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(text, "transformed", "exec"), space)
    return space[name]


def test_renaming_reaches_variables_and_nothing_else() -> None:
    """Fields, methods, keyword arguments and types keep their names."""
    found = changed("rename-locals", "c", SOURCES["c"]) or ""
    assert "p->a" not in found and "->a = " in found and "struct s" in found
    assert found.startswith("int add(struct s *v1, int *v2)")
    found = changed("rename-locals", "java", SOURCES["java"]) or ""
    assert "this.first = v1" in found and ".sum(v" in found and "int sum" not in found
    found = changed("rename-locals", "c-sharp", SOURCES["c-sharp"]) or ""
    assert "this.first = v1" in found and ".Sum(v" in found
    found = changed("rename-locals", "python", PYTHON) or ""
    assert "step=1" in found and "values" not in found and "kept.append" not in found
    assert ".append(" in found and ".items()" in found


def test_renaming_leaves_alone_what_would_break() -> None:
    """Functions that see their names as text; names already taken; globals."""
    assert changed("rename-locals", "python", "def f(a):\n    return locals()['a']\n") is None
    found = changed("rename-locals", "python", "def f(a):\n    v1 = a\n    return v1\n")
    assert found == "def f(v2):\n    v3 = v2\n    return v3\n"
    text = "def f(a):\n    global g\n    g = a\n    return g\n"
    assert changed("rename-locals", "python", text) == text.replace("(a)", "(v1)").replace(
        "= a", "= v1"
    )


def test_a_function_that_calls_itself_is_renamed_throughout() -> None:
    """To a name that nothing else has."""
    text = "def walk(f, n):\n    return walk(f, n - 1) if n else f\n"
    expected = "def f1(f, n):\n    return f1(f, n - 1) if n else f\n"
    assert changed("rename-function", "python", text) == expected


def test_only_independent_statements_change_places() -> None:
    """Not those that read each other, call something, or whose address is taken."""
    assert changed("reorder", "python", "def f(a):\n    b = a\n    c = b\n    return c\n") is None
    assert changed("reorder", "python", "def f(a):\n    b = g()\n    c = 1\n    return c\n") is None
    assert changed("reorder", "python", "def f(a):\n    a.b = 1\n    a.c = 2\n") is None
    assert changed("reorder", "c", "int f(void) { int a = 1; int b = 2; g(&a); return b; }") is None
    found = changed("reorder", "c", "int f(void) { int a = 1; int b = 2; return b; }")
    assert found == "int f(void) { int b = 2; int a = 1; return b; }"


def test_formatting_keeps_texts_and_one_line_stays_one_line() -> None:
    """A text of several lines is the same after."""
    text = 'def f(a):\n    b = """x\n        y"""\n\n    return (a)\n'
    found = changed("formatting", "python", text)
    assert found == 'def f( a):\n  b = """x\n        y"""\n  return ( a)\n'
    one = "int f(void){return 1;}"
    found = changed("dead-code", "c", one)
    assert found is not None and "\n" not in found and "if (0)" in found


@pytest.mark.parametrize("text", ["", "int f( {", "\0", "not code at all ((", "x = 1\n"])
def test_what_is_no_whole_function_stays(text: str) -> None:
    """No error, no change."""
    for name in TRANSFORMS.names():
        if name != "formatting":
            assert changed(name, "python", text) is None
        assert changed(name, "c", text) is None or name == "formatting"


def test_joined_tokens_are_changed_through_their_source() -> None:
    """And cut into tokens again; a row whose tokens are not those of its source stays."""
    joined = " ".join(tokens(PYTHON, "python"))
    row = Example({"code": joined, "raw_code": PYTHON, "language": "python"}, "Sum.", "7")
    rename = TRANSFORMS.get("rename-locals")
    new = rename.applied(row, 0)
    assert new.fields["code"] == " ".join(tokens(new.fields["raw_code"], "python")) != joined
    assert (new.id, new.target) == (row.id, row.target)
    odd = Example({**row.fields, "code": joined + " x"}, "Sum.", "8")
    assert rename.applied(odd, 0) is odd
    assert TRANSFORMS.get("formatting").applied(row, 0) is row
    unknown = Example({"code": PYTHON, "language": "klingon"})
    assert rename.applied(unknown, 0) is unknown
