"""The command line with a whole (tiny) backbone: predict and check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli_place import SOURCE, Place, made_place  # noqa: F401 (a fixture)
from tests.test_cli import mistake, ok, run


def test_predict_answers_for_every_function(place: Place, tmp_path: Path) -> None:
    """File, function, place, text and score; in order; the same one by one."""
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    results = ok("predict", place.summarize, path)["results"]
    assert [(r["function"], r["start_line"], r["end_line"]) for r in results] == [
        ("Box.close", 2, 3),
        ("add", 6, 7),
    ]
    assert all(set(r) == {"file", "function", "start_line", "end_line", "text", "score"}
               for r in results)  # fmt: skip
    for name in ("close", "Box.close"):
        alone = ok("predict", place.summarize, path, "--function", name)["results"]
        assert [r["function"] for r in alone] == ["Box.close"]
        assert alone[0]["text"] == results[0]["text"]
        assert alone[0]["score"] == pytest.approx(results[0]["score"], abs=1e-5)
    streamed = run("predict", place.summarize, path, "--jsonl")
    assert [json.loads(line) for line in streamed.stdout.splitlines()] == results
    shown = run("predict", place.summarize, path).stdout.splitlines()
    assert shown[1].startswith(f"{path}:6: add: ")


def test_predict_and_eval_choose_among_several_answers(place: Place, tmp_path: Path) -> None:
    """By agreement or by a channel; the settings stand in the signature; labels have no choice."""
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    for decode in ("mbr", "rerank"):
        results = ok("predict", place.summarize, path, "--decode", decode, "--candidates", 3)
        assert [r["function"] for r in results["results"]] == ["Box.close", "add"]
    words = ("eval", place.summarize, "--data", place.functions, "--split", "all", "--limit", 3)
    found = ok(*words, "--decode", "rerank", "--candidates", 3, "--channel", 0.25)
    assert "channel=0.25" in found["signature"] and "candidates=3" in found["signature"]
    message = mistake("predict", place.defect, "-", "--language", "c", "--decode", "rerank",
                      stdin="int f(int a) { return a; }\n")  # fmt: skip
    assert "gives labels" in message
    message = mistake("predict", "translate-java-cs", "-", "--language", "java", "--decode",
                      "rerank", stdin="class A { int f() { return 1; } }\n")  # fmt: skip
    assert "Expected a task and family that has a channel: summarize on t5" in message


def test_predict_reads_stdin_and_gives_labels(place: Place) -> None:
    """A classifying pack answers with a label and the positive label's probability."""
    found = ok("predict", place.defect, "-", "--language", "c",
               stdin="int f(int a) { return a; }\n")  # fmt: skip
    (result,) = found["results"]
    assert result["file"] == "-" and result["label"] in ("clean", "defective")
    assert 0 <= result["score"] <= 1
    assert "Name it with --language" in mistake("predict", place.defect, "-", stdin="int f;")


def test_a_function_longer_than_the_window_is_answered(place: Place, tmp_path: Path) -> None:
    """It is cut, not refused."""
    path = tmp_path / "long.py"
    path.write_text("def f(x):\n" + "    x = x + 1\n" * 3000 + "    return x\n")
    (result,) = ok("predict", place.defect, path)["results"]
    assert result["end_line"] == 3002


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.py", b"\0\1\2", "binary"),
        ("a.txt", b"words", "no extension of a supported language"),
        ("none.py", None, "cannot be read"),
    ],
)
def test_predict_refuses_what_is_no_source(
    place: Place, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """Before a backbone is loaded."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert message in mistake("predict", place.summarize, tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"x = 1\n", b"\xff\xfe = 1\n"])
def test_a_file_without_functions_gives_no_results(
    place: Place, tmp_path: Path, content: bytes
) -> None:
    """Empty, no function, invalid UTF-8."""
    (tmp_path / "a.py").write_bytes(content)
    assert ok("predict", place.summarize, tmp_path / "a.py") == {"results": []}


def test_predict_offers_the_nearest_function(place: Place, tmp_path: Path) -> None:
    """And lists those there are."""
    (tmp_path / "a.py").write_text(SOURCE)
    message = mistake("predict", place.summarize, tmp_path / "a.py", "--function", "ad")
    assert "Did you mean 'add'?" in message and "Box.close" in message


def test_check_reports_and_fails_only_where_asked(place: Place, tmp_path: Path) -> None:
    """Status 0 without --fail-on, 1 where a finding reaches it; all three formats."""
    (tmp_path / "a.py").write_text(SOURCE)
    words = ("check", tmp_path, "--pack", place.defect, "--threshold", 0)
    found = ok(*words)["results"]
    assert [f["function"] for f in found] == ["Box.close", "add"]
    assert not any(f["fails"] for f in found)
    failing = run(*words, "--fail-on", 0)
    assert failing.exit_code == 1 and failing.stdout.count("(fails)") == 2
    assert "2 findings" in failing.stderr
    assert run(*words, "--fail-on", 1).exit_code == 0
    log = json.loads(run(*words, "--format", "sarif", "--fail-on", 0).stdout)
    assert [r["level"] for r in log["runs"][0]["results"]] == ["error", "error"]
    streamed = run(*words, "--jsonl").stdout.splitlines()
    assert [json.loads(line) for line in streamed] == found


def test_check_with_a_baseline_reports_what_is_new(place: Place, tmp_path: Path) -> None:
    """What was written as known does not fail; a new function does."""
    path, known = tmp_path / "a.py", tmp_path / "known.json"
    path.write_text(SOURCE)
    words = ("check", path, "--pack", place.defect, "--threshold", 0, "--fail-on", 0)
    assert run(*words, "--write-baseline", known).exit_code == 0
    assert run(*words, "--baseline", known).exit_code == 0
    path.write_text(SOURCE + "\n\ndef new(x):\n    return x\n")
    result = run(*words, "--baseline", known)
    assert result.exit_code == 1 and result.stdout.count("\n") == 1 and ": new " in result.stdout
    assert "2 x function in the baseline" in result.stderr


def test_check_takes_the_threshold_of_the_card(place: Place, tmp_path: Path) -> None:
    """The same findings as with that threshold given."""
    (tmp_path / "a.py").write_text(SOURCE)
    threshold = ok("pack", "show", place.defect)["threshold"]
    by_card = ok("check", tmp_path, "--pack", place.defect)["results"]
    given = ok("check", tmp_path, "--pack", place.defect, "--threshold", threshold)["results"]
    assert by_card == given


def test_check_refuses_what_it_cannot_do(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack that writes, no pack, no path, no repository, a baseline half seen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text(SOURCE)
    assert "no label to look for" in mistake("check", "a.py", "--pack", place.summarize)
    assert "Known packs" in mistake("check", "a.py", "--pack", "none-such")
    assert "no file or folder" in mistake("check", "none.py", "--pack", place.defect)
    assert "Leave out --changed-since" in mistake(
        "check", "a.py", "--pack", place.defect, "--changed-since", "HEAD"
    )
    assert "Leave one of them out" in mistake(
        "check", "a.py", "--changed-since", "HEAD", "--write-baseline", "b.json"
    )


def test_the_pack_that_ships_is_asked_about_its_language_alone(tmp_path: Path) -> None:
    """Tuned on C: a Python function is left out and told, unless the pack is named."""
    source = tmp_path / "a.py"
    source.write_text("def area(width, height):\n    return width * height\n")
    left = run("check", source)
    assert left.exit_code == 0, left.output
    assert "Left out: 1 x function in Python" in left.stderr
    assert "was tuned on C alone" in left.stderr and "0 findings" in left.stderr
    named = run("check", source, "--pack", "defect")
    assert "in 1 functions of 1 files" in named.stderr


def test_a_translation_that_ships_needs_no_target(tmp_path: Path) -> None:
    """Its card names one language to write."""
    source = tmp_path / "Box.java"
    source.write_text("class Box {\n  public int size() {\n    return count;\n  }\n}\n")
    (found,) = ok("predict", "translate-java-cs", source)["results"]
    assert "{" in found["text"]


def test_nothing_to_check_is_no_error(place: Place, tmp_path: Path) -> None:
    """An empty folder in a hook; torch is not needed for it."""
    result = run("check", tmp_path, "--pack", place.defect, "--fail-on", 0)
    assert result.exit_code == 0 and "0 findings" in result.stderr
