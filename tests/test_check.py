"""The work behind `check`: which functions are asked about, and which answers are findings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeprompt.check.baseline import read_baseline, write_baseline
from codeprompt.check.files import files_to_check
from codeprompt.check.findings import Finding
from codeprompt.check.fingerprint import KEY, fingerprint
from codeprompt.check.ignore import is_ignored
from codeprompt.check.questions import WINDOW, answered, questions
from codeprompt.check.run import Rules, Tally, findings
from codeprompt.check.sarif import sarif
from codeprompt.engine import Request
from codeprompt.errors import DataError
from codeprompt.languages import find_language
from codeprompt.languages.functions import functions
from codeprompt.types import Prediction


class Scripted:
    """An engine whose probability stands in the function's name: `f_70` gets 0.70.

    It answers the last question first, as a real one does that sorts by length.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Prediction]]:
        """Answers in reverse order."""
        self.asked.append(len(requests))
        for index in reversed(range(len(requests))):
            value = int(requests[index].fields["name"].rpartition("_")[2]) / 100
            yield index, Prediction("bad" if value >= 0.5 else "good", value)


def python(*names: str) -> str:
    """A file with functions of those names."""
    return "\n\n".join(f"def {name}(x):\n    return x + {i}" for i, name in enumerate(names)) + "\n"


def found_in(folder: Path, rules: Rules, tally: Tally | None = None) -> list[Finding]:
    """The findings of a folder, asked of the scripted engine."""
    tally = tally or Tally()
    files = files_to_check([folder], tally.left_out)
    return list(findings(Scripted(), "p", "bad", files, rules, tally))


def test_what_reaches_the_threshold_is_found_in_order(tmp_path: Path) -> None:
    """Files by name, functions by place; places and probability as they are."""
    (tmp_path / "b.py").write_text(python("f_70", "g_20"))
    (tmp_path / "a.py").write_text(python("h_10", "k_50", "m_99"))
    found = found_in(tmp_path, Rules(0.5))
    assert [(f.file.name, f.function, f.start_line, f.end_line, f.score) for f in found] == [
        ("a.py", "k_50", 4, 5, 0.5),
        ("a.py", "m_99", 7, 8, 0.99),
        ("b.py", "f_70", 1, 2, 0.7),
    ]
    assert not any(f.fails for f in found)


def test_fail_on_marks_what_fails_and_reports_it_below_the_threshold(tmp_path: Path) -> None:
    """A build that breaks always says why."""
    (tmp_path / "a.py").write_text(python("f_40", "g_20"))
    found = found_in(tmp_path, Rules(0.9, fail_on=0.4))
    assert [(f.function, f.fails) for f in found] == [("f_40", True)]


def test_answers_keep_their_order_over_windows(tmp_path: Path) -> None:
    """More functions than one window holds, answered in any order."""
    path = tmp_path / "a.py"
    names = [f"f{i}_{i % 100}" for i in range(2 * WINDOW + 3)]
    path.write_text(python(*names))
    engine = Scripted()
    asked = questions(path, path.read_bytes())
    assert [q.function.name for q, _ in answered(engine, "p", asked)] == names
    assert engine.asked == [WINDOW, WINDOW, 3]


def test_a_question_holds_no_documentation(tmp_path: Path) -> None:
    """What a template may ask for is what training saw."""
    code = 'def f(x):\n    """Double the number."""\n    return 2 * x\n'
    (asked,) = questions(tmp_path / "a.py", code.encode())
    fields = asked.fields({"target_language": "java"})
    assert "Double" not in fields["code"] and fields["code"] == fields["raw_code"]
    assert (fields["language"], fields["name"]) == ("python", "f")
    assert fields["target_language"] == "java"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("def f():  # codeprompt: ignore\n    pass", 1, True),
        ("# codeprompt: ignore\ndef f():\n    pass", 2, True),
        ("# codeprompt: ignore (measured)\n@cache\ndef f():\n    pass", 3, True),
        ("/**\n * Sums.\n * codeprompt: ignore\n */\nint f() {}", 5, True),
        ("// CodePrompt: Ignore\nint f() {}", 2, True),
        ("x = 1  # codeprompt: ignore\ndef f():\n    pass", 2, False),
        ("# codeprompt: ignore\n\ndef f():\n    pass", 3, False),
        ("# codeprompt: ignored-not\ndef f():\n    pass", 2, False),
        ("def f(x='codeprompt: ignore'):\n    pass", 1, False),
        ("def f():\n    pass", 1, False),
        ("", 1, False),
    ],
)
def test_a_comment_leaves_a_function_out(text: str, line: int, expected: bool) -> None:
    """On its first line, or in the comments and decorators right above it; nowhere else."""
    assert is_ignored(text.split("\n"), line) is expected


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    """Ignored, generated, vendored, test files, other files, binary files: all are told."""
    (tmp_path / "a.py").write_text("# codeprompt: ignore\n" + python("f_90"))
    (tmp_path / "generated.py").write_text("# Code generated by a tool, DO NOT EDIT\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "test_a.py").write_text(python("f_90"))
    (tmp_path / "binary.py").write_bytes(b"\0\1")
    (tmp_path / ".gitignore").write_text("hidden.py\n")
    (tmp_path / "hidden.py").write_text(python("f_90"))
    (tmp_path / "proto.c").write_text("int f_90(int x);\n")
    tally = Tally()
    assert found_in(tmp_path, Rules(0.5), tally) == []
    assert tally.left_out["function marked 'codeprompt: ignore'"] == 1
    assert tally.left_out["generated file"] == 1
    assert tally.left_out["vendored or built folder"] == 1
    assert tally.left_out["test file"] == 1
    assert tally.left_out["file in .gitignore"] == 1
    assert [path.name for path, _ in tally.unread] == ["binary.py"]
    assert "binary" in tally.unread[0][1]


def test_a_named_file_of_another_kind_is_told_not_fatal(tmp_path: Path) -> None:
    """Hooks pass whatever was committed."""
    (tmp_path / "README.md").write_text("words\n")
    left_out: Counter[str] = Counter()
    assert files_to_check([tmp_path / "README.md"], left_out) == []
    assert left_out["file of no supported language"] == 1
    with pytest.raises(DataError, match="There is no file or folder"):
        files_to_check([tmp_path / "none"], left_out)


def test_a_file_named_twice_is_checked_once(tmp_path: Path) -> None:
    """A folder and a file in it."""
    (tmp_path / "a.py").write_text(python("f_90"))
    assert len(files_to_check([tmp_path, tmp_path / "a.py"], Counter())) == 1


def print_of(code: str, language: str = "python") -> str:
    """The fingerprint of the only function in a text."""
    (function,) = functions(code.encode(), find_language(language))
    return fingerprint(function)


def test_a_fingerprint_survives_moves_and_layout() -> None:
    """Lines above, indentation, comments and documentation do not count; code and name do."""
    plain = "def f(x, y):\n    return x + y\n"
    same = (
        "import os\n\n\n" + plain,
        'def f(x, y):\n    """Sum."""\n    # as it is\n    return x + y\n',
        "def f(\n    x,\n    y\n):\n    return x + y",
    )
    assert {print_of(code) for code in same} == {print_of(plain)}
    assert print_of(plain.replace("+", "-")) != print_of(plain)
    assert print_of(plain.replace("f(", "g(")) != print_of(plain)
    assert print_of("int f(int x) { return x; }", "c") != print_of("int f(int x) { return x; }",
                                                                   "cpp")  # fmt: skip


@given(st.integers(0, 40), st.booleans())
def test_a_fingerprint_does_not_know_its_line(lines: int, windows: bool) -> None:
    """Any number of lines above, and line ends of either kind."""
    code = "\n" * lines + "def f(x):\n    y = x * 2\n    return y\n"
    moved = code.replace("\n", "\r\n") if windows else code
    assert print_of(moved) == print_of("def f(x):\n    y = x * 2\n    return y\n")


def test_a_baseline_hides_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    """Known findings stay known when they move; a changed function is a new finding."""
    path = tmp_path / "a.py"
    path.write_text(python("f_90", "g_80"))
    tally = Tally()
    assert len(found_in(tmp_path, Rules(0.5), tally)) == 2
    file = tmp_path / "known.json"
    write_baseline(file, tally.fingerprints)
    known = read_baseline(file)
    path.write_text("import os\n\n" + python("f_90", "g_80"))
    again = Tally()
    assert found_in(tmp_path, Rules(0.5, fail_on=0.5, known=known), again) == []
    assert again.left_out["function in the baseline"] == 2
    assert again.fingerprints == tally.fingerprints
    path.write_text(python("f_90", "g_80").replace("x + 1", "x + 7"))
    assert [f.function for f in found_in(tmp_path, Rules(0.5, known=known))] == ["g_80"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "is not a baseline"),
        (b'{"version": 1}', "is not a baseline"),
        (b'{"version": 1, "fingerprints": [3]}', "is not a baseline"),
        (b'{"version": 9, "fingerprints": []}', "of version 9"),
    ],
)
def test_a_broken_baseline_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Silence would hide findings."""
    path = tmp_path / "known.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_baseline(path)


def test_sarif_says_where_how_sure_and_how_bad(tmp_path: Path) -> None:
    """Rule, region, level, probability, fingerprint; paths relative to the root and escaped."""
    inside, outside = tmp_path / "root" / "a b.py", tmp_path / "c.py"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_text(python("f_90"))
    found = [
        Finding(inside, "Box.f", 3, 9, "bad", 0.91, "ab" * 16, fails=True),
        Finding(outside, "g", 1, 1, "bad", 0.6, "cd" * 16),
    ]
    log = sarif(found, task="defect", pack="p", summary="whether ...", root=inside.parent)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    first, second = run["results"]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "codeprompt/defect"
    assert (first["level"], second["level"]) == ("error", "warning")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.py"
    assert place["region"] == {"startLine": 3, "endLine": 9}
    assert first["partialFingerprints"] == {KEY: "ab" * 16}
    assert first["properties"]["probability"] == 0.91
    uri = second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.startswith("file:///")
    json.dumps(log, allow_nan=False)


def test_a_finding_as_text_starts_with_a_place_that_editors_follow() -> None:
    """`file:line:`."""
    found = Finding(Path("src/a.py"), "f", 12, 20, "defective", 0.913, "0" * 32, fails=True)
    assert found.as_text() == "src/a.py:12: f looks defective, probability 0.91 (fails)"
    assert found.as_json()["file"] == "src/a.py"
