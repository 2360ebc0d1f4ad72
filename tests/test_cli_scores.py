"""`score` and `compare`: values, intervals, winners and ties, and files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import mistake, ok, run


def test_underscores_in_names_are_forgiven(tmp_path: Path) -> None:
    """`exact_match` is `exact-match`."""
    (tmp_path / "a.txt").write_text("x\n")
    found = ok("score", "exact_match", "--predictions", tmp_path / "a.txt", "--references",
               tmp_path / "a.txt")  # fmt: skip
    assert found["value"] == 100 and found["metric"] == "exact-match"


def test_score_prints_value_count_signature_and_interval(tmp_path: Path) -> None:
    """Both for programs and for people."""
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("returns the sum\ncloses it\n")
    b.write_text("returns the sum\nopens the file\n")
    words = ("score", "codexglue-sentence-bleu", "--predictions", a, "--references", b)
    found = ok(*words)
    assert found["n"] == 2 and found["signature"].startswith("codexglue-sentence-bleu|")
    low, high = found["interval"]
    assert low <= found["value"] <= high
    assert "interval" not in ok(*words, "--bootstrap", "0")
    shown = run(*words)
    assert "(n = 2)" in shown.stdout and found["signature"] in shown.stdout


def test_score_takes_labels_and_a_positive_one(tmp_path: Path) -> None:
    """JSONL with labels and scores."""
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_text('{"label": "bad", "score": 0.9}\n{"label": "good", "score": 0.2}\n')
    b.write_text('{"label": "bad"}\n{"label": "good"}\n')
    words = ("--predictions", a, "--references", b, "--positive", "bad")
    assert ok("score", "f1", *words)["value"] == 100
    assert ok("score", "roc-auc", *words)["value"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\xff\xfe\x00", "is not UTF-8"), (b"a\nb\nc\n", "3 items .* has 1")],
    ids=["empty", "binary", "another length"],
)
def test_score_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty, binary and unequal files are told apart."""
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_bytes(content)
    b.write_text("x\n")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(mistake("score", "chrf", "--predictions", a, "--references", b))
    assert "cannot be read" in mistake(
        "score", "chrf", "--predictions", tmp_path / "none", "--references", b
    )
    assert "--language" in mistake("score", "parse-rate", "--predictions", b, "--references", b)


def write_run(path: Path, answers: list[str], pack: str) -> None:
    """A run file of a summary task."""
    items = [
        {"id": str(i), "prediction": text, "references": [f"the answer number {i} of all"]}
        for i, text in enumerate(answers)
    ]
    scores = [
        {"metric": name, "value": 0.0, "n": len(items), "signature": name}
        for name in ("chrf", "exact-match")
    ]
    run = {"version": 1, "task": "summarize", "pack": pack, "backbone": "b", "data": "d",
           "split": "test", "items": items, "scores": scores}  # fmt: skip
    path.write_text(json.dumps(run))


def test_compare_tells_a_winner_and_a_tie(tmp_path: Path) -> None:
    """The same run against itself is a tie; right answers beat wrong ones."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    write_run(good, [f"the answer number {i} of all" for i in range(30)], "good")
    write_run(bad, ["nothing"] * 30, "bad")
    found = ok("compare", bad, good, "--bootstrap", "200")
    assert [one["better"] for one in found["comparisons"]] == ["b", "b"]
    assert all(one["p_holm"] >= one["p"] for one in found["comparisons"])
    same = ok("compare", good, good, "--metric", "exact-match", "--bootstrap", "200")
    assert [one["better"] for one in same["comparisons"]] == ["tie"]
    shown = run("compare", bad, good, "--bootstrap", "200").stdout
    assert "B is better at the 5% level" in shown and "A = bad" in shown


def test_compare_refuses_what_cannot_be_compared(tmp_path: Path) -> None:
    """Other rows, a cut file, no file."""
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_run(a, ["x"] * 3, "a")
    write_run(b, ["x"] * 2, "b")
    assert "do not hold the same rows" in mistake("compare", a, b)
    b.write_text(a.read_text()[:40])
    assert "is not a run" in mistake("compare", a, b)
    assert "cannot be read" in mistake("compare", a, tmp_path / "none.json")
