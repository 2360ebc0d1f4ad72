"""The built-in encoder: what it learns from, that it learns, that it ships as a known backbone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.backbone import encoder, shards, tokenizer
from benchmarks.backbone.export import export
from benchmarks.backbone.fused import cross_entropy
from benchmarks.backbone.identifiers import Identifiers
from benchmarks.backbone.objectives import Stage
from benchmarks.backbone.presets import ENCODER
from benchmarks.backbone.train import Run
from codeprompt.backbones import checkpoint
from codeprompt.backbones.load import load_backbone
from codeprompt.files import write_text

STAGES = (Stage(1.01, 64, 600, 0, 0),)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder-data")
    lines = []
    for n in range(60):
        code = f"def load_item_{n}(source, size):\n    item = source[{n}]\n    return [item] * size"
        package = "trimesh" if n % 6 == 0 else "one"
        lines.append(json.dumps(["python", f"load_item_{n}", code, "Load the item.", package]))
    write_text(folder / "corpus.jsonl", "\n".join(lines))
    texts = [json.loads(line) for line in lines]
    tokenizer.train(tokenizer.texts((t[2], t[2], t[3]) for t in texts), folder, 600)
    shards.write_shards(folder / "corpus.jsonl", folder, folder)
    return folder


def test_names_are_found_in_ids_and_keywords_are_none(data: Path) -> None:
    """Every place of a name is one run of tokens; `def` and `return` are no names."""
    coder = tokenizer.load(data)
    ids = np.array(coder.encode(" def get_it(size):\n    return size * 0xff").ids)
    found = [
        "".join(coder.decode(ids[start:stop].tolist()) for start, stop in run).split()
        for run in Identifiers(coder).runs(ids)
    ]
    assert found == [["get_it"], ["size", "size"]] or found == [["get_it"], ["sizesize"]]


def test_a_cloze_hides_a_fifth_and_keeps_the_rest(data: Path) -> None:
    """Labels stand at a share of the tokens, never at padding or the ends; most are masked."""
    clozes = encoder.Clozes(shards.Shard.open(data, "train"), tokenizer.load(data), seed=1)
    asked = total = masks = 0
    for batch in clozes.batches(STAGES[0]):
        there = batch.labels >= 0
        assert not (there & ~batch.mask).any()
        ends = (batch.source == tokenizer.START) | (batch.source == tokenizer.END)
        assert not (there & ends).any()
        masks += int((batch.source == tokenizer.MASK).sum())
        asked, total = asked + int(there.sum()), total + batch.tokens
    assert 0.15 < asked / total < 0.22
    assert 0.7 < masks / asked < 0.9


def test_it_learns_from_the_words_of_a_t5_and_ships(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run from a T5's word vectors lowers the loss, is exported and loads by its name."""
    small = replace(encoder.SHAPE, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    monkeypatch.setattr(encoder, "SHAPE", replace(small, num_attention_heads=2))
    monkeypatch.setattr("benchmarks.backbone.train.compiled", lambda function: function)
    shared = torch.randn(600, 32)
    preset = replace(ENCODER["cpu"], minutes=1e-3, stages=STAGES, threads=1, warm_up=0.1)
    run = Run(preset, data, tmp_path / "run", resume=False)
    run.optimiser.load_weights(run.kit.start(run.model, {"shared.weight": shared}))
    words = run.model.backbone.embedding.weight
    torch.testing.assert_close(words.float(), shared[: len(words)].bfloat16().float())
    before = run.kit.judge(run.model, run.tokenizer, run.held)["held loss"]
    for batch in list(run.objectives.batches(STAGES[0]))[:25]:
        run.kit.loss(run.model, batch, cross_entropy).backward()
        run.optimiser.step(1.0)
    assert run.go() is True
    lines = [json.loads(x) for x in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["held loss"] < before - 1

    root = tmp_path / "site"
    card = export(tmp_path / "run", root / "builtin" / "builtin-encoder-1")
    assert card["family"] == "encoder"
    monkeypatch.setattr(checkpoint, "files", lambda package: root)
    backbone = load_backbone("builtin-encoder")
    assert backbone.name == "builtin-encoder-1"
    assert backbone.tokenizer.mask_id == tokenizer.MASK
    assert not backbone.tokenizer.has_sentinels
    assert checkpoint.newest_builtin() is None
    hidden = run.model.eval().backbone
    for name, tensor in backbone.state_dict().items():
        torch.testing.assert_close(tensor, hidden.state_dict()[name].float())
