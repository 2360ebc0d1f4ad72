"""The recipe of the built-in backbone: what it keeps out, what it reads, what it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.backbone import shards, tokenizer
from benchmarks.backbone.corpus import Row, filter_rows, prose, read_rows
from benchmarks.backbone.exclude import BLOCKED, Blocklist
from benchmarks.backbone.fetch import PERMISSIVE, read_manifest
from benchmarks.backbone.loss import loss_of
from benchmarks.backbone.muon import Optimiser, orthogonalise
from benchmarks.backbone.objectives import Objectives, Stage
from benchmarks.backbone.presets import PRESETS, factor
from benchmarks.backbone.shape import new_model
from codeprompt.backbones.t5 import T5Config
from codeprompt.files import write_text

CODE = "def read_all(path, size):\n    with open(path) as handle:\n        return handle.read(size)"
SMALL = T5Config(1_000, 32, 16, 64, 2, 2, 2, dropout_rate=0.0)


def rows() -> list[Row]:
    made = [
        Row(
            "python",
            f"load_{n}_item",
            f"def load_{n}_item(a):\n    b = a + {n}\n    return [b] * {n}",
            f"Load the item number {n} from the list.",
            "one",
        )
        for n in range(40)
    ]
    held = [Row("python", "get_it", CODE, "Read all of a file.", "trimesh")]
    return [*made, *held]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import json

    folder = tmp_path_factory.mktemp("data")
    lines = [json.dumps([r.language, r.name, r.code, r.summary, r.package]) for r in rows()]
    write_text(folder / "corpus.jsonl", "\n".join(lines))
    parts = [shards.parts(row) for row in rows()]
    tokenizer.train(tokenizer.texts((p[0], p[1], p[3]) for p in parts), folder, 600)
    shards.write_shards(folder / "corpus.jsonl", folder, folder)
    return folder


def test_blocklist_finds_exact_and_near_copies() -> None:
    """White space does not hide a copy, one changed name does not either, other code passes."""
    blocked = Blocklist([CODE * 3, "int main() { return 0; }"])
    assert blocked.reason("int  main()\n{ return 0; }") == "exact"
    assert blocked.reason(CODE * 3 + " # more") == "near"
    assert blocked.reason("def other(x):\n    return [y for y in x if y is not None]") == ""


def test_vendored_copies_of_test_projects_are_blocked_by_path() -> None:
    """The projects that the tests come from are skipped wherever they lie."""
    assert BLOCKED.search("src/java/org/apache/lucene/index/IndexReader.java")
    assert BLOCKED.search("pip/_vendor/networkx/classes/graph.py")
    assert not BLOCKED.search("flask/app.py")


def test_filter_drops_duplicates_and_test_data(tmp_path: Path) -> None:
    """A duplicate counts once, an excluded function not at all, and no exact overlap is left."""
    import json

    made = [rows()[0], rows()[0], rows()[1], rows()[-1]]
    lines = [json.dumps([r.language, r.name, r.code, r.summary, r.package]) for r in made]
    write_text(tmp_path / "a.jsonl", "\n".join(lines))
    excluded = tmp_path / "excluded"
    write_text(excluded / "test.jsonl", json.dumps({"code": CODE}) + "\n")
    report = filter_rows([tmp_path / "a.jsonl"], tmp_path / "out.jsonl", excluded, jobs=1)
    assert [r.name for r in read_rows(tmp_path / "out.jsonl")] == ["load_0_item", "load_1_item"]
    assert report["dropped"] == {"duplicate": 1, "test data, exact": 1}
    assert report["exact overlap left"] == 0


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("return the name of the node", "Return the name of the node."),
        ("See https://example.org for more.", ""),
        ("x", ""),
        ("TODO write this down some day", ""),
    ],
)
def test_only_prose_is_kept_as_a_summary(sentence: str, kept: str) -> None:
    """A summary is a sentence with one full stop, or nothing."""
    assert prose(sentence) == kept


def test_the_manifest_is_pinned_and_permissive() -> None:
    """Every package has a version, a checksum and a permissive licence; none is a test project."""
    packages = read_manifest()
    assert len(packages) > 100
    for package in packages:
        assert package.version, package.name
        assert len(package.sha256) == 64, package.name
        assert PERMISSIVE.search(package.licence), package.name
        assert not BLOCKED.search(f"/{package.name}/"), package.name


def test_merges_stop_at_camel_case(data: Path) -> None:
    """`loadItem` never becomes one token, though `load` and `Item` may."""
    coder = tokenizer.load(data)
    assert not any("dI" in token for token in coder.get_vocab() if token.isalpha())
    assert coder.token_to_id("<pad>") == 0
    assert coder.token_to_id("<extra_id_0>") == coder.get_vocab_size() - 1
    assert coder.decode(coder.encode("loadItem(x)").ids) == "loadItem(x)"


def test_held_out_packages_are_never_trained_on(data: Path) -> None:
    """The function of a held-out package stands in its own split alone."""
    assert len(shards.Shard.open(data, "train")) == 40
    assert len(shards.Shard.open(data, "held")) == 1


def test_sources_begin_with_the_products_instruction(data: Path) -> None:
    """A summary's source is the task's own template, token for token."""
    from codeprompt.tasks.summarize import TASK

    coder, shard = tokenizer.load(data), shards.Shard.open(data, "held")
    objectives = Objectives(shard, coder, seed=1)
    stage = Stage(1, 400, 4_000, summarize=1, name=0, spans=0, carry_on=0)

    class Raw:
        def random(self) -> float:
            return 0.9

    source, target = objectives.summary_pair(0, stage, Raw())  # type: ignore[arg-type]
    text = str(TASK.templates["t5"]).format(language="python", code=CODE)
    assert source.tolist() == [1, *coder.encode(text, add_special_tokens=False).ids, 2]
    assert coder.decode(target.tolist()) == "Read all of a file."


def test_spans_and_their_source_make_up_the_code(data: Path) -> None:
    """Putting the target's spans in place of the sentinels gives the code back."""
    coder, shard = tokenizer.load(data), shards.Shard.open(data, "train")
    objectives = Objectives(shard, coder, seed=1)
    stage = Stage(1, 400, 4_000, summarize=0, name=0, spans=1, carry_on=0)
    first = coder.token_to_id("<extra_id_99>")
    for seed in range(20):
        source, target = objectives._spans(seed, stage, np.random.default_rng(seed))
        spans: dict[int, list[int]] = {}
        for token in target[:-1].tolist():
            if token >= first:
                spans[token] = []
            else:
                spans[list(spans)[-1]].append(token)
        whole = [t for token in source[1:-1].tolist() for t in spans.get(token, [token])]
        assert whole in (shard.ids(seed, "raw").tolist(), shard.ids(seed, "joined").tolist())


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    """Muon's update has no direction much larger than another."""
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 24, 48)).float())
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.5


def test_a_new_model_starts_near_uniform_and_learns(data: Path) -> None:
    """The first loss is log V; a few steps lower it; a resumed optimiser goes on alike."""
    coder = tokenizer.load(data)
    objectives = Objectives(shards.Shard.open(data, "train"), coder, seed=1)
    stage = Stage(1, 64, 1_000, summarize=1, name=0, spans=0, carry_on=0)
    batch = next(objectives.batches(stage))
    model = new_model(SMALL, seed=1)
    optimiser = Optimiser(model.named_parameters(), hidden_rate=0.02, other_rate=0.01)
    first = loss_of(model, batch)
    assert float(first.detach()) == pytest.approx(np.log(1_000), rel=0.02)
    first.backward()
    for _ in range(8):
        optimiser.step(1.0)
        loss_of(model, batch).backward()
    state = {name: tensor.clone() for name, tensor in optimiser.state_tensors().items()}
    optimiser.step(1.0)
    again = new_model(SMALL, seed=2)
    resumed = Optimiser(again.named_parameters(), hidden_rate=0.02, other_rate=0.01)
    resumed.load_tensors(state)
    loss_of(again, batch).backward()
    resumed.step(1.0)
    torch.testing.assert_close(again.shared.weight, model.shared.weight)
    assert float(loss_of(model, batch).detach()) < float(first.detach()) - 0.5


def test_the_schedule_warms_up_stays_and_decays() -> None:
    """The factor rises, is one, and ends near nothing."""
    preset = PRESETS["cpu"]
    assert factor(preset, 0.0) < 0.1
    assert factor(preset, 0.3) == 1.0
    assert factor(preset, 1.0) == pytest.approx(0.01)
