"""Languages: functions, their places, their documentation, in ten languages and in bad files."""

from __future__ import annotations

import ast
import json
import lzma
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeprompt.errors import DataError
from codeprompt.languages import find_language
from codeprompt.languages.functions import (
    Function,
    functions,
    parses,
    summary_of,
    tokens,
)
from codeprompt.registry import LANGUAGES

# language, source, then for each function: qualified name, parameters, summary, first and last line
CASES = {
    "python": (
        "class A:\n"
        "    @property\n"
        "    async def run(self, a, b: int, c=1, *args, d: int = 2, **kw) -> int:\n"
        '        """Run `a` twice, e.g. now. Then stop.\n\n        Args:\n            a: x\n'
        '        """\n'
        "        def inner(x): return x\n"
        "        return inner(a)\n",
        [
            ("A.run", "self a b c args d kw", "Run a twice, e.g. now.", 3, 10),
            ("A.run.inner", "x", "", 9, 9),
        ],
    ),
    "java": (
        "class A<T> {\n"
        "  /**\n   * Gets {@link B#of(int) the b}. Never <code>null</code>.\n"
        "   * @param i x\n   */\n"
        "  @Override\n  public <T> void run(int i, String... more) { go(); }\n"
        "  A(int q) { super(); }\n}\n",
        [("A.run", "i more", "Gets the b.", 6, 7), ("A.A", "q", "", 8, 8)],
    ),
    "c": (
        "int before; // not of this\n"
        "/**\n * \\brief Adds \\p a to b.\n * \\param a first\n */\n"
        "static int *add(int a, char *b[], void (*call)(int), ...)\n{\n  return 0;\n}\n"
        "int x; /* of x */\n"
        "int plain(void) { return 1; }\n",
        [("add", "a b call", "Adds a to b.", 6, 9), ("plain", "", "", 11, 11)],
    ),
    "cpp": (
        "namespace n { class X { bool operator==(const X& o) { return true; } ~X() {} }; }\n"
        "/// Moves it on.\n/// @return x\ntemplate <typename T>\n"
        "int n::X<T>::go(T&& a, int b = 1) { return 1; }\n",
        [
            ("n::X::operator==", "o", "", 1, 1),
            ("n::X::~X", "", "", 1, 1),
            ("n::X::go", "a b", "Moves it on.", 4, 5),
        ],
    ),
    "c-sharp": (
        "namespace N.M {\n class X {\n"
        '  /// <summary>\n  /// Gets the <see cref="T:N.Foo"/> of <paramref name="a"/>.\n'
        '  /// </summary>\n  /// <param name="a">x</param>\n  [Attr]\n'
        "  public int Get(int a, params string[] b) { int In(int q) { return q; } return In(a); }\n"
        "  X() { Go(); }\n }\n}\n",
        [
            ("N.M.X.Get", "a b", "Gets the Foo of a.", 7, 8),
            ("N.M.X.Get.In", "q", "", 8, 8),
            ("N.M.X.X", "", "", 9, 9),
        ],
    ),
    "javascript": (
        "/**\n * Adds things up.\n * @param {number} a\n */\n"
        "export const add = (a, {b, c}, ...d) => a + b;\n"
        "class A { static m(x = 1) { return x; } #p() { go(); } }\n"
        "/** Walks along slowly. */\nA.prototype.walk = function (far) { go(); };\n"
        "call(function () { return function named() {}; });\n",
        [
            ("add", "a|{b, c}|d", "Adds things up.", 5, 5),
            ("A.m", "x", "", 6, 6),
            ("A.#p", "", "", 6, 6),
            ("A.walk", "far", "Walks along slowly.", 8, 8),
            ("named", "", "", 9, 9),
        ],
    ),
    "typescript": (
        "export abstract class A<T> {\n  /** Sets the x. */\n  @Input()\n"
        "  private set(x: number, y?: string): void { go(); }\n  on = (e: Event) => { go(); };\n}\n"
        "namespace N { export function f(this: X, a: string) { go(); } }\n"
        "const B = () => <div>hi</div>;\n",
        [
            ("A.set", "x y", "Sets the x.", 4, 4),
            ("A.on", "e", "", 5, 5),
            ("N.f", "this a", "", 7, 7),
            ("B", "", "", 8, 8),
        ],
    ),
    "go": (
        "package p\n\n// Add adds a and b,\n// always.\n"
        "func Add(a, b int, c ...string) int { return a }\n"
        "\n// far away\n\nfunc (s *Server[T]) Run(ctx C) { go s.x() }\n",
        [("Add", "a b c", "Add adds a and b, always.", 5, 5), ("Server.Run", "ctx", "", 9, 9)],
    ),
    "ruby": (
        "module M\n  class A < B\n    # Sends +it+ off.\n    #\n    # @param a [String] x\n"
        "    private def send_it(a, b = 1, *c, k: 2, **d, &e)\n      go\n    end\n"
        "    def self.make; go; end\n  end\nend\n",
        [("M.A.send_it", "a b c k d e", "Sends it off.", 6, 8), ("M.A.make", "", "", 9, 9)],
    ),
    "php": (
        "<?php\nnamespace N;\nclass A {\n  /**\n   * Finds all users.\n   *\n"
        "   * @return array\n   */\n  #[Attr]\n"
        "  public static function find(private int $x, ?string &$b = null) { go(); }\n}\n"
        "function f(...$c) { return 1; }\n",
        [("A.find", "$x $b", "Finds all users.", 9, 10), ("f", "$c", "", 12, 12)],
    ),
}


def _seen(function: Function) -> tuple[str, str, str, int, int]:
    sign = "|" if any(" " in name for name in function.parameters) else " "
    listed = sign.join(function.parameters)
    return (
        function.qualified_name,
        listed,
        function.summary,
        function.start_line,
        function.end_line,
    )


@pytest.mark.parametrize("name", LANGUAGES.names())
def test_every_language_finds_functions_with_names_parameters_summaries_and_lines(
    name: str,
) -> None:
    source, expected = CASES[name]
    assert [_seen(function) for function in functions(source, name)] == expected


@pytest.mark.parametrize("name", LANGUAGES.names())
@pytest.mark.parametrize("change", ["crlf", "bom", "tabs", "bytes"])
def test_line_ends_byte_order_marks_and_tabs_change_nothing(name: str, change: str) -> None:
    source, expected = CASES[name]
    text: str | bytes = source
    if change == "crlf":
        text = source.replace("\n", "\r\n")
    elif change == "bom":
        text = b"\xef\xbb\xbf" + source.encode()
    elif change == "tabs":
        text = source.replace("  ", "\t")
    else:
        text = source.encode()
    assert [_seen(function) for function in functions(text, name)] == expected


@pytest.mark.parametrize("name", LANGUAGES.names())
def test_bytes_lines_and_texts_of_a_function_agree(name: str) -> None:
    source = "\n" + CASES[name][0] if name != "php" else CASES[name][0]
    source = source.replace("go()", "go('héé — 漢字')")
    data = source.encode()
    for function in functions(source, name):
        own = data[function.start_byte : function.end_byte].decode()
        assert own in function.code and function.code in source
        lines = data.decode().split("\n")[function.start_line - 1 : function.end_line]
        assert own in "\n".join(lines)
        assert function.doc in function.code
        assert not function.doc or function.doc not in function.bare


@pytest.mark.parametrize("name", LANGUAGES.names())
@settings(max_examples=15, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0"), max_size=200), cut=st.integers(0, 400))
def test_no_text_breaks_the_search(name: str, text: str, cut: int) -> None:
    source = CASES[name][0]
    for function in functions(source[:cut] + text + source[cut:], name):
        assert function.start_byte < function.end_byte
        assert 1 <= function.start_line <= function.end_line
        assert isinstance(function.bare + function.summary, str)


@pytest.mark.parametrize(
    "broken",
    [
        "def b():\n    x = = 2\n",
        "def b(:\n    return 1\n",
        "def b():\n    return (\n",
        "def b()\n    x\n",
    ],
)
def test_a_syntax_error_leaves_the_other_functions_whole(broken: str) -> None:
    source = f"def a():\n    return 1\n\n{broken}\ndef c(z):\n    '''Do it.'''\n    go(z)\n"
    found = {function.name: function for function in functions(source, "python")}
    assert {"a", "c"} <= set(found)
    assert not found["a"].has_error and not found["c"].has_error
    assert found["c"].summary == "Do it." and ("b" not in found or found["b"].has_error)


def test_invalid_utf8_is_replaced_and_moves_no_offset() -> None:
    data = b"x = '\xff\xfe'\ndef f():\n    '''Caf\xe9 is open.'''\n    return '\xe9'\n"
    (function,) = functions(data, "python")
    assert (function.name, function.start_byte) == ("f", data.index(b"def"))
    assert function.summary == "Caf\ufffd is open."
    assert function.bare == "def f():\n    return '\ufffd'"


def test_binary_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"binary: it has a NUL byte at offset 3.*UTF-16"):
        functions(b"def\0", "python")


@pytest.mark.parametrize("text", ["", " \n\t\n", b"", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_functions(text: str | bytes) -> None:
    assert functions(text, "python") == []


def test_a_file_of_ten_megabytes_is_read_whole() -> None:
    unit = "".join(f"    # {'why ' * 30}\n    x = {i}\n" for i in range(100))
    source = "".join(f"def f{i}(a):\n{unit}" for i in range(740))
    assert len(source) > 10_000_000
    assert len(functions(source, "python")) == 740


def test_deep_nesting_meets_no_recursion_limit() -> None:
    assert len(functions("function a(){" * 5000 + "}" * 5000, "js")) == 5000
    assert functions("(" * 50_000, "python") == []


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        ('def f():\n    """Doc."""\n    return 1\n', "def f():\n    return 1"),
        ('def f():\n    """Doc."""\n', "def f():\n    pass"),
        ('def f(): "Doc."; return 1\n', "def f(): return 1"),
        ('def f():\n    # note\n    """Doc."""  # why\n    x\n', None),
        ("def f():\n    r'''A\n\n    B'''\n\n    return 1\n", "def f():\n\n    return 1"),
        ("def f():\n    'A' 'B'\n    return 1\n", "def f():\n    return 1"),
        ("def f():\n    f'{a}'\n    return 1\n", "def f():\n    f'{a}'\n    return 1"),
        ("def f():\n    'a'.x()\n    return 1\n", "def f():\n    'a'.x()\n    return 1"),
    ],
)
def test_a_docstring_is_cut_out_and_the_rest_still_parses(source: str, bare: str | None) -> None:
    (function,) = functions(source, "python")
    assert bare is None or function.bare == bare
    (node,) = ast.parse(function.bare).body
    assert isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is None


def test_docstrings_and_names_agree_with_pythons_own_parser_on_real_code() -> None:
    """Every function of a dozen real modules: same names, same lines, same docstrings."""
    folder = Path(ast.__file__).parent
    checked = 0
    for path in sorted(folder.glob("[a-d]*.py"))[:15]:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
        nodes = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        expected = {(n.name, n.lineno): ast.get_docstring(n) for n in nodes}
        found = {(f.name, f.start_line): f for f in functions(data, "python")}
        assert set(found) == set(expected), path
        for place, doc in expected.items():
            assert bool(found[place].doc) == (doc is not None), (path, place)
            checked += doc is not None
    assert checked > 100


@pytest.mark.parametrize(
    ("language", "source", "trivial"),
    [
        ("python", "def f():\n    '''Doc.'''\n", True),
        ("python", "def f():\n    '''Doc.'''\n    # later\n    pass\n", True),
        ("python", "def f():\n    raise NotImplementedError('x')\n", True),
        ("python", "def f():\n    return None\n", True),
        ("python", "def f():\n    return 0\n", False),
        ("java", "class A { abstract int f(); }", True),
        ("java", "class A { void f() { /* none */ } }", True),
        ("java", "class A { void f() { throw new UnsupportedOperationException(); } }", True),
        ("java", "class A { void f() { g(); } }", False),
        ("go", "func f() {\n\t// none\n}", True),
        ("c", "int f(void) { return 1; }", False),
        ("ruby", "def f\nend", True),
        ("ruby", "def f = true", False),
    ],
)
def test_bodies_that_do_nothing_are_known(language: str, source: str, trivial: bool) -> None:
    assert functions(source, language)[0].body_is_trivial is trivial


@pytest.mark.parametrize(
    ("language", "doc", "summary"),
    [
        ("python", '"""Return :class:`~a.b.C` or ``None``."""', "Return C or None."),
        ("python", '"""\n    Title of it\n    ===========\n\n    More."""', "Title of it"),
        ("python", '"""Args:\n    x: the x"""', ""),
        ("python", '"""Do it\n    :param x: the x"""', "Do it"),
        ("python", '"""Parameters\n----------\nx : int\n"""', ""),
        ("python", '"""See `the docs <http://x.y>`_ and [b](http://c)."""', "See the docs and b."),
        ("python", '"""Use v1.2 of e.g. this. And that."""', "Use v1.2 of e.g. this."),
        ("python", '"""Is it? Yes."""', "Is it?"),
        ("java", "/** {@inheritDoc} */", ""),
        ("java", "/** @return the name */", ""),
        ("java", "/** Is {@code a < b} &amp; c.<p>More. */", "Is a < b & c."),
        ("java", "/** Calls {@link #go()} on {@link Foo#bar}. */", "Calls go on Foo.bar."),
        ("c", "/*\n * name - frees the thing\n * @x: y\n */", "frees the thing"),
        ("c", "/*!\n  \\fn int name(int)\n  \\brief Frees it.\n*/", "Frees it."),
        ("c", "// Frees it,\n// and more.", "Frees it, and more."),
        ("cpp", "//! Frees \\a it. Twice.", "Frees it."),
        ("c-sharp", "/// <inheritdoc/>", ""),
        ("c-sharp", "/// <summary>A <c>b</c>.<para>C</para></summary>", "A b."),
        ("c-sharp", '/// <param name="x">the x</param>', ""),
        ("javascript", "/**\n * @private\n * @param {x} y z\n */", ""),
        ("javascript", "/**\n * @description Does it.\n */", "Does it."),
        ("typescript", "/** Does {@link Foo | the foo} `now`. */", "Does the foo now."),
        ("go", "// name does it.\n//go:noinline", "name does it."),
        ("go", "/*\nname does\nit. Yes.\n*/", "name does it."),
        ("ruby", "# call-seq:\n#   name(x)\n#\n# Does it.", "Does it."),
        ("ruby", "# :nodoc:", ""),
        ("php", "/**\n * Does it\n *\n * @var x\n */", "Does it"),
    ],
)
def test_documentation_is_reduced_to_its_first_sentence(
    language: str, doc: str, summary: str
) -> None:
    assert summary_of(doc, find_language(language), "name") == summary


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "def f(): pass", True),
        ("python", "def f(:", False),
        ("java", "public A(int x) { this.x = x; }", True),
        ("java", "private int f() throws E { return 1; }", True),
        ("java", "return x;", True),
        ("java", "} class B {", False),
        ("java", "public int f() { return 1 }", False),
        ("c-sharp", "public override void F(int a){b.C(a);}", True),
        ("c-sharp", "public override int X{get{return 1;}}", True),
        ("c-sharp", "public override void F(int a){b.C(a);", False),
        ("c", "int f(void) { return 1; }", True),
        ("typescript", "private f(): void {}", True),
        ("typescript", "const a = <div/>;", True),
        ("php", "public function f($x) { return $x; }", True),
        ("php", "<?php function f($x) { return $x; }", True),
        ("php", "function f($x) { return", False),
        ("go", "func f() {}", True),
        ("ruby", "def f; end", True),
        ("python", " \n", False),
        ("python", "\0", False),
    ],
)
def test_a_program_or_a_bare_method_parses(language: str, text: str, expected: bool) -> None:
    assert parses(text, language) is expected


@pytest.mark.parametrize("language", ["java", "python"])
def test_tokens_are_those_of_codesearchnet(shared_data: Path, language: str) -> None:
    """Real rows agree token by token with the data set's own `code_tokens`."""
    path = shared_data / f"csn_{language}" / "valid.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:300]
    assert all(tokens(row["code"], language) == row["code_tokens"] for row in rows)


def test_every_reference_of_codetrans_parses_or_nearly(shared_data: Path) -> None:
    """The official references are whole methods: over 95% of a sample parse in either language."""
    for ending, name in (("java", "java"), ("cs", "c-sharp")):
        path = shared_data / "codetrans" / f"valid.java-cs.txt.{ending}"
        lines = path.read_text(encoding="utf-8").split("\n")[:200]
        assert sum(parses(line, name) for line in lines) > 190, name
