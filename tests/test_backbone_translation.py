"""The translation packs' recipe: what its pairs look like, that it learns, that packs result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.backbone import kits, packs, tokenizer
from benchmarks.backbone.export import export
from benchmarks.backbone.objectives import Stage
from benchmarks.backbone.presets import TRANSLATION
from benchmarks.backbone.train import Run
from benchmarks.backbone.translation import Pairs, Translations, write_pairs
from codeprompt.backbones import checkpoint
from codeprompt.backbones.t5 import T5Config
from codeprompt.data.sources import load_data
from codeprompt.files import write_text
from codeprompt.pack import load
from codeprompt.registry import TASKS
from codeprompt.template import parse, render

SMALL = T5Config(600, 32, 16, 64, 1, 1, 2, dropout_rate=0.0)
STAGES = (Stage(1.01, 96, 600, 0, 0),)


def java(n: int) -> str:
    return f"public int getItem{n}() {{return item{n}.value();}}"


def sharp(n: int) -> str:
    return f"public virtual int GetItem{n}(){{return item{n}.Value();}}"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "codetrans"
    folder.mkdir()
    for split, rows in (("train", range(60)), ("valid", range(60, 100)), ("test", range(100, 110))):
        write_text(folder / f"{split}.java-cs.txt.java", "".join(f"{java(n)}\n" for n in rows))
        write_text(folder / f"{split}.java-cs.txt.cs", "".join(f"{sharp(n)}\n" for n in rows))
    return folder


@pytest.fixture(scope="module")
def data(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words, out = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("shards")
    texts = [(f" {java(n)}", f" {sharp(n)}", "public and c-sharp") for n in range(60)]
    tokenizer.train(tokenizer.texts(texts), words, 600)
    counts = write_pairs(raw, words, out)
    assert (counts["train pairs"], counts["held pairs"]) == (60, 40)
    return out


def backbone_of(data: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `builtin-9` that has learned nothing."""
    monkeypatch.setattr(kits, "SHAPE", SMALL)
    monkeypatch.setattr("benchmarks.backbone.train.compiled", lambda function: function)
    monkeypatch.setattr("benchmarks.backbone.train.fuse", lambda model: None)
    made = Run(replace(TRANSLATION["cpu"], threads=1), data, root / "first", resume=False).save()
    state = json.loads((made / "state.json").read_text())
    state["preset"]["family"] = "t5"  # as pre-training writes it
    write_text(made / "state.json", json.dumps(state))
    export(made, root / "builtin" / "builtin-9")
    monkeypatch.setattr(checkpoint, "files", lambda package: root)
    return root / "builtin" / "builtin-9"


def test_pairs_are_what_the_product_asks_and_expects(
    raw: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source ids are those of the rendered template, target ids those of the bare text."""
    from codeprompt.backbones.load import load_backbone

    backbone = load_backbone(str(backbone_of(data, tmp_path, monkeypatch)))
    drawn = Translations(Pairs.open(data, "held"), tokenizer.load(data), seed=1)
    task = TASKS.get("translate")
    template = parse(task.templates["t5"])
    for side, columns in enumerate(packs.DIRECTIONS.values()):
        rows = load_data(str(raw), task.columns, split="valid", columns=columns)
        for number in (0, 7):
            source, target = drawn.pair(number, side)
            rendered = render(template, rows[number].fields, backbone.tokenizer, max_length=320)
            assert source.tolist() == list(rendered.ids)
            wanted = backbone.tokenizer.encode(rows[number].target)
            assert target.tolist() == [*wanted, tokenizer.END]


def test_changed_names_are_changed_alike_on_both_sides(data: Path) -> None:
    """What stood on both sides still does, and the two sides keep their lengths."""
    drawn = Translations(Pairs.open(data, "train"), tokenizer.load(data), seed=1)
    drawn.forms[:] = 1  # every token is a name, and may become any other
    drawn.others = {1: np.arange(5, 500)}
    source, target = drawn.pairs.text(3, 0), drawn.pairs.text(3, 1)
    new_source, new_target = drawn._rename(source, target, np.random.default_rng(0))
    both = np.intersect1d(source, target)
    assert (source != new_source).any()
    for token in both:
        assert new_source[source == token][0] == new_target[target == token][0]
    kept = ~np.isin(target, both)
    assert (new_target[kept] == target[kept]).all()


def test_a_run_gives_two_packs_that_load(
    raw: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs of whole weights, with the data's licence, languages and the run on their cards."""
    start = backbone_of(data, tmp_path, monkeypatch)
    preset = replace(TRANSLATION["cpu"], minutes=2e-3, stages=STAGES, threads=1)
    run = Run(preset, data, tmp_path / "run", resume=False, start=start)
    assert run.go() is True
    made = list(packs.write(tmp_path / "run", raw, tmp_path / "packs", dev=4))
    assert [one["pack"] for one in made] == list(packs.DIRECTIONS)
    pack = load(tmp_path / "packs" / "translate-cs-java")
    assert pack.card.holds == "weights" and pack.card.backbone.name == "builtin-9"
    assert pack.card.data.languages == ["c-sharp"]
    assert pack.card.data.target_languages == ["java"]
    assert "C-UDA" in pack.card.licence.data and pack.card.recipe["tokens"] > 0
