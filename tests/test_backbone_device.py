"""Batches drawn on the device say what those drawn row by row say; the pack is small and whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.backbone import shards, tokenizer
from benchmarks.backbone.corpus import read_rows
from benchmarks.backbone.device import DeviceObjectives
from benchmarks.backbone.objectives import Batch, Objectives, Stage
from benchmarks.backbone.pack import pack
from benchmarks.backbone.presets import FAMILIES, continued
from benchmarks.backbone.train import Run
from codeprompt.errors import TrainingError, UsageError
from codeprompt.files import write_text

WIDE = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device-data")
    lines = []
    for n in range(60):
        body = "\n".join(f"    item_{i} = source[{i * n}] + size" for i in range(1 + n % 7))
        code = f"def load_item_{n}(source, size):\n{body}\n    return [size] * {n}"
        summary = f"Load the item number {n} of the source." if n % 3 else ""
        package = "trimesh" if n % 6 == 0 else "one"
        lines.append(json.dumps(["python", f"load_item_{n}", code, summary, package]))
    write_text(folder / "corpus.jsonl", "\n".join(lines))
    texts = [json.loads(line) for line in lines]
    tokenizer.train(tokenizer.texts((t[2], t[2], t[3]) for t in texts), folder, 600)
    shards.write_shards(folder / "corpus.jsonl", folder, folder)
    return folder


def drawn(data: Path, **shares: float) -> Batch:
    """One batch under a mixture, drawn on the CPU as it would be on a GPU."""
    shard, coder = shards.Shard.open(data, "train"), tokenizer.load(data)
    objectives = DeviceObjectives(shard, coder, seed=3, device="cpu")
    stage = Stage(1.01, WIDE, 20_000, **({"summarize": 0, "name": 0} | shares))  # type: ignore[arg-type]
    batches = list(objectives.batches(stage))
    assert objectives.pools == 1
    return batches[0]


def rows_of(batch: Batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [
        (tuple(ids[there].tolist()), tuple(label[label >= 0].tolist()))
        for ids, there, label in zip(batch.source, batch.mask, batch.labels, strict=True)
    ]


@pytest.mark.parametrize("kind", ["summarize", "name", "write"])
def test_rows_are_those_of_the_row_by_row_objectives(
    data: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every drawn pair is one that `Objectives` makes of some row, where the width is one."""
    monkeypatch.setattr("benchmarks.backbone.device.WIDTHS", ())
    shard = shards.Shard.open(data, "train")
    objectives = Objectives(shard, tokenizer.load(data), seed=1)
    stage = Stage(1, WIDE, 4_000, summarize=1, name=0)
    make = {
        "summarize": objectives.summary_pair,
        "name": objectives._name,
        "write": objectives._write,
    }[kind]
    known = set()

    class First:
        def __init__(self, value: float) -> None:
            self.value = value

        def random(self) -> float:
            return self.value

    rows = objectives.named if kind == "name" else objectives.documented
    for row in rows:
        for value in (0.1, 0.9):
            source, target = make(int(row), stage, First(value))  # type: ignore[arg-type]
            known.add((tuple(source.tolist()), tuple(target.tolist())))
    found = rows_of(drawn(data, **{kind: 1.0}))
    assert len(found) > 20
    assert set(found) <= known


def test_spans_in_place_of_their_sentinels_give_the_code(data: Path) -> None:
    """Source and target of a drawn span row make up the code; about a seventh is hidden."""
    shard, coder = shards.Shard.open(data, "train"), tokenizer.load(data)
    codes = {
        tuple(shard.ids(r, part)[: WIDE - 2].tolist())
        for r in range(len(shard))
        for part in ("raw", "joined")
    }
    first = coder.token_to_id("<extra_id_99>")
    hidden = whole = 0
    for source, target in rows_of(drawn(data, spans=1.0)):
        assert source[0] == tokenizer.START
        assert source[-1] == target[-1] == tokenizer.END
        spans: dict[int, list[int]] = {}
        for token in target[:-1]:
            if token >= first:
                spans[token] = []
            else:
                spans[list(spans)[-1]].append(token)
        assert list(spans) == sorted(spans, reverse=True)
        code = tuple(t for token in source[1:-1] for t in spans.get(token, [token]))
        assert code in codes
        hidden, whole = hidden + sum(map(len, spans.values())), whole + len(code)
    assert 0.12 < hidden / whole < 0.18


def test_a_continuation_goes_on_where_its_source_ends(data: Path) -> None:
    """The drawn source's code and its target stand side by side in some row."""
    shard, coder = shards.Shard.open(data, "train"), tokenizer.load(data)
    raw = [tuple(shard.ids(r, "raw").tolist()) for r in range(len(shard))]
    head = len(Objectives(shard, coder, 1).prompt["Continue"][0])
    for source, target in rows_of(drawn(data, carry_on=1.0)):
        joined = source[head:-1] + target[:-1]
        assert any(code[: len(joined)] == joined for code in raw)


def test_a_batch_holds_all_objectives_and_seeds_repeat_it(data: Path) -> None:
    """Two draws from one seed are equal; the mixture stands in one batch."""
    shares = {"summarize": 0.5, "name": 0.1, "spans": 0.2, "carry_on": 0.1, "write": 0.1}
    one, two = drawn(data, **shares), drawn(data, **shares)
    torch.testing.assert_close(one.source, two.source)
    torch.testing.assert_close(one.labels, two.labels)
    assert one.tokens == int(one.mask.sum()) + int((one.labels >= 0).sum())
    heads = {ids[1:3] for ids, _ in rows_of(one)}
    assert len(heads) >= 4


def test_the_pack_keeps_to_its_size_and_documented_rows_first(data: Path, tmp_path: Path) -> None:
    """All rows fit in a large pack; a tight one drops undocumented rows, never cuts a line."""
    whole = pack(data / "corpus.jsonl", tmp_path / "all.jsonl.xz")
    rows = list(read_rows(tmp_path / "all.jsonl.xz"))
    assert whole["rows"] == len(rows)
    held = sum(row.package == "trimesh" for row in rows)
    assert held == 10
    assert all(row.summary for row in rows[held : held + 30])
    assert (tmp_path / "all.jsonl.xz").stat().st_size == whole["bytes"]
    assert pack(data / "corpus.jsonl", tmp_path / "none.jsonl.xz", limit=100)["rows"] == 0
    with pytest.raises(UsageError, match=r"jsonl\.xz"):
        pack(data / "corpus.jsonl", tmp_path / "pack")


def test_the_gpu_preset_fits_its_time_and_says_where_it_cannot_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 minutes, a billion tokens at a modest rate, widths the batches know; a clear refusal."""
    preset = FAMILIES["t5"]["gpu"]
    assert preset.minutes == 25
    assert preset.stages[-1].source == 256
    assert continued(preset).device == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="no GPU"):
        Run(preset, data, tmp_path / "run", resume=False)
