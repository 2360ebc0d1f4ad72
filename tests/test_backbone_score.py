"""The table's baselines and figures, the block list, and where a run's weights come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.backbone import baselines, card, score, shards, tokenizer
from benchmarks.backbone.blocklist import Sketches, likeness, sketch
from benchmarks.backbone.constant import References, best_constant
from benchmarks.backbone.exclude import hashes_of
from benchmarks.backbone.export import export
from benchmarks.backbone.objectives import Stage
from benchmarks.backbone.presets import PRESETS, continued, factor
from benchmarks.backbone.train import Run
from codeprompt.backbones.t5 import T5Config
from codeprompt.errors import DataError, TrainingError
from codeprompt.files import write_text
from codeprompt.metrics.codexglue_sentence_bleu import sentence_bleu, tokens
from codeprompt.types import Example

SENTENCES = [
    "Return a list of the given nodes .",
    "Return the name of the file .",
    "Set the size of a list .",
    "Return True if the list is empty .",
]
CODE = "def read_all(path, size):\n    with open(path) as handle:\n        return handle.read(size)"


@pytest.mark.parametrize("text", ["Return the list .", "x", "return a list of the the the given ."])
def test_a_constant_is_measured_as_the_metric_measures_it(text: str) -> None:
    """The search's own score is the mean of `sentence_bleu`, to the last digit."""
    wanted = sum(sentence_bleu(text, [row]) for row in SENTENCES) / len(SENTENCES)
    assert References(SENTENCES).score(tuple(tokens(text))) == pytest.approx(wanted, abs=1e-12)


def test_the_search_beats_every_given_sentence() -> None:
    """Climbing never ends below the best sentence it could have started from."""
    rows = References(SENTENCES)
    found = rows.score(tuple(best_constant(SENTENCES).split()))
    assert found >= max(rows.score(tuple(tokens(text))) for text in SENTENCES)


def test_a_name_becomes_words_and_the_nearest_pair_its_summary() -> None:
    """`def read_all` reads `Read all .`; retrieval finds the pair that shares its words."""
    rows = [Example({"code": "def read_all ( path ) :"}), Example({"code": "z"})]
    assert baselines.own_names(rows)[0] == "Read all ."
    pytest.importorskip("bm25s")
    pairs = [
        (baselines.words_of("def close(handle): pass"), "Close it."),
        (baselines.words_of("def readAll(path): return path"), "Read it."),
        (baselines.words_of("def sum_up(numbers): return sum(numbers)"), "Sum up."),
    ]
    assert baselines.nearest(pairs, rows)[0] == "Read it."


def test_length_and_bag_of_words_learn_what_is_there() -> None:
    """Where long functions that say `strcpy` are defective, both find it."""
    made = [
        Example({"code": f"int f{n}() {{ {'strcpy(a, b); x = 1;' * (n % 2 * 9)} }}"}, label)
        for n in range(80)
        for label in [("clean", "defective")[n % 2]]
    ]
    found = baselines.defects(made[:60], made[60:])
    for name in ("length alone", "bag of words"):
        assert found[name] == [row.target for row in made[60:]]


def test_content_words_leave_out_what_every_sentence_has() -> None:
    """Recall counts content words of the reference; rows without any do not count."""
    assert score.content_words("Return the list of nodes .") == {"return", "list", "nodes"}
    found = score.recall(["a list", "x"], ["the list of nodes", "of the"])
    assert found == pytest.approx(50)


def test_sketches_know_copies_and_likenesses(tmp_path: Path) -> None:
    """Saved and read again, they refuse a copy and a near copy and let other code pass."""
    Sketches.of([CODE * 3, "int main() { return 0; }"]).save(tmp_path / "list.npz")
    blocked = Sketches.load(tmp_path / "list.npz")
    assert blocked.reason("int  main()\n{ return 0; }") == "exact"
    assert blocked.reason(CODE * 3 + " # more") == "near"
    assert blocked.reason("def other(x):\n    return [y for y in x if y is not None]") == ""
    with pytest.raises(DataError, match="no block list"):
        Sketches.load(tmp_path / "nothing.npz")


def test_shingle_hashes_are_the_same_everywhere() -> None:
    """No hash depends on the process: these were computed by another one."""
    assert hashes_of("a b c d e f").tolist() == [1873500171, 1210480315]


def test_a_sketch_estimates_the_likeness_of_two_texts() -> None:
    """On texts with a known overlap the estimate stays within the sketch's error."""
    words = [f"w{n}" for n in range(400)]
    a, b = " ".join(words[:300]), " ".join(words[50:350])
    true = len({*hashes_of(a)} & {*hashes_of(b)}) / len({*hashes_of(a)} | {*hashes_of(b)})
    assert abs(likeness(sketch(a), sketch(b)) - true) < 0.35
    assert likeness(sketch(a), sketch(a)) == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run-data")
    rows = [
        [
            "python",
            f"f_{n}_x",
            f"def f_{n}_x(a):\n    b = a + {n}\n    return [b] * {n}",
            "Do it.",
            p,
        ]
        for n in range(40)
        for p in ["trimesh" if n % 8 == 0 else "one"]
    ]
    write_text(folder / "corpus.jsonl", "\n".join(map(json.dumps, rows)))
    tokenizer.train(tokenizer.texts((r[2], r[2], r[3]) for r in rows), folder, 500)
    shards.write_shards(folder / "corpus.jsonl", folder, folder)
    return folder


def test_a_run_is_cut_resumed_exported_and_begun_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment ends early, `resume` goes on, a run from exported weights knows its lineage."""
    shape = T5Config(500, 32, 16, 64, 1, 1, 2, dropout_rate=0.0)
    monkeypatch.setattr("benchmarks.backbone.kits.SHAPE", shape)
    monkeypatch.setattr("benchmarks.backbone.train.compiled", lambda function: function)
    monkeypatch.setattr("benchmarks.backbone.train.fuse", lambda model: None)
    preset = replace(
        PRESETS["cpu"], minutes=1e-2, threads=1, stages=(Stage(1.01, 48, 500, 1, 0),) * 3
    )
    first = Run(preset, data, tmp_path / "one", resume=False)
    assert first.go(minutes=1e-6) is False
    with pytest.raises(TrainingError, match="already holds"):
        Run(preset, data, tmp_path / "one", resume=False)
    again = Run(preset, data, tmp_path / "one", resume=True)
    assert again.optimiser.steps == first.optimiser.steps == 1
    assert again.elapsed == first.elapsed
    assert Run(replace(preset, minutes=1e-9), data, tmp_path / "one", resume=True).go() is True

    made = export(tmp_path / "one", tmp_path / "site" / "builtin-1")
    assert made["lineage"] == ["from scratch"]
    assert made["name"] == "builtin-1"
    text = (tmp_path / "site" / "builtin-1" / "README.md").read_text()
    assert made["sha256"] in text and "## Limits" in text
    later = Run(continued(preset), data, tmp_path / "two", False, tmp_path / "site" / "builtin-1")
    shared = dict(later.model.named_parameters())["shared.weight"]
    was = dict(first.model.named_parameters())["shared.weight"]
    np.testing.assert_allclose(shared.float().detach(), was.float().detach(), atol=1e-2)
    assert later.lineage[0]["name"] == "builtin-1"
    later.go(minutes=1e-6)
    second = export(tmp_path / "two", tmp_path / "site" / "builtin-2")
    assert second["lineage"][0]["sha256"] == made["sha256"]
    assert second["tokens in all"] == made["tokens"] + second["tokens"]

    row = {"bleu": 15.0, "chrf": 20.0, "recall": 25.0, "distinct": 90.0}
    kept = {"split": "test", "count": 3, "summaries": {"mine": row, "other": row}}
    write_text(tmp_path / "test.json", json.dumps(kept))
    folder = tmp_path / "site" / "builtin-2"
    assert card.add_scores(folder, [tmp_path / "test.json"], "nobody")["scores"] == {}
    card.add_scores(folder, [tmp_path / "test.json"], "mine")
    scores = json.loads((folder / "card.json").read_text())["scores"]
    assert [found["bleu"] for found in scores.values()] == [15.0]
    assert "| 15.0 |" in (folder / "README.md").read_text()

    (data / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(TrainingError, match=r"another merges\.txt"):
        Run(continued(preset), data, tmp_path / "three", False, tmp_path / "site" / "builtin-1")


def test_a_continued_run_decays_from_a_lower_peak() -> None:
    """Weights that have learned are warmed up to less, and decayed over nearly all the time."""
    preset = continued(PRESETS["cpu"])
    assert factor(preset, 0.5) < 0.5
    assert max(factor(preset, n / 100) for n in range(101)) <= preset.peak
