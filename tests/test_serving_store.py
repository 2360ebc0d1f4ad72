"""Prepared weights are stored and freed, and steps recorded, without a change in any answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import codeprompt.backbones.serving as serving
from codeprompt.backbones.base import Backbone, Source
from codeprompt.backbones.serving import prepare
from codeprompt.backbones.serving.store import Store
from codeprompt.backbones.serving.trace import Traces
from codeprompt.inject import NOTHING, collate
from tests import test_t5 as t5
from tests.serving_rows import alone, every_prompt, mixed, needs_int8, walk
from tests.test_pages import resident
from tests.tiny import tiny_roberta, tiny_t5


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=needs_int8)])
@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_freeing_leaves_the_copy_alone(make: Any, precision: Any) -> None:
    """With `free` the backbone's maps are gone, and the copy answers the same."""
    source = Source(torch.randint(5, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool))
    kept = prepare(make(), precision)
    backbone = make()
    before = held(backbone)
    copy = prepare(backbone, precision, free=True)
    assert held(backbone) < before / 2
    with torch.no_grad():
        torch.testing.assert_close(copy.encode(source), kept.encode(source))


def held(backbone: Backbone) -> int:
    """Numbers in a backbone's matrices, embeddings left out."""
    return sum(p.numel() for n, p in backbone.named_parameters() if "layer" in n)


@needs_int8
def test_prepared_weights_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second copy comes from the stored tensors, without quantising, and answers the same."""
    backbone = tiny_t5()
    backbone.hash = "a" * 64
    first = prepare(backbone, "int8", cache=tmp_path)
    assert list(tmp_path.iterdir()) == [Store(tmp_path, backbone.hash).path]
    monkeypatch.setattr("codeprompt.backbones.serving.linear.quantise", None)
    second = prepare(backbone, "int8", cache=tmp_path)
    source = Source(torch.randint(5, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool))
    with torch.no_grad():
        torch.testing.assert_close(second.encode(source), first.encode(source), atol=0, rtol=0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only /proc tells what is mapped")
def test_a_kept_scale_does_not_hold_its_file(tmp_path: Path) -> None:
    """Scales live on beside packed values; the values' own pages go when they are packed."""
    kept = Store(tmp_path, "c" * 64)
    kept.save("map", torch.ones(64, 32, dtype=torch.int8), torch.ones(64))
    found = kept.load("map")
    assert found is not None
    scale = found[1]
    del found
    assert resident(kept.file("map")) == 0
    assert scale.sum() == 64


@needs_int8
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_prepared_weights_are_made_again(tmp_path: Path, damage: str) -> None:
    """A cut or changed file is never used; it is replaced by a good one."""
    backbone = tiny_t5()
    backbone.hash = "b" * 64
    good = prepare(backbone, "int8", cache=tmp_path)
    kept = Store(tmp_path, backbone.hash)
    file = next(kept.path.iterdir())
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        tensors = load_file(file)
        tensors["values"].zero_()
        save_file(tensors, file, metadata={"sha256": "0" * 64})
    assert kept.load(file.stem) is None
    again = prepare(backbone, "int8", cache=tmp_path)
    source = Source(torch.randint(5, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool))
    with torch.no_grad():
        torch.testing.assert_close(again.encode(source), good.encode(source), atol=0, rtol=0)
    assert kept.load(file.stem) is not None


def test_a_processor_without_int8_gets_another_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where int8 does not work the copy says what it became."""
    monkeypatch.setattr(serving, "int8_kernel", lambda: None)
    assert prepare(tiny_t5(), "int8").precision in ("bf16", "float32")


@pytest.mark.parametrize("precision", ["float32", "bf16", pytest.param("int8", marks=needs_int8)])
def test_recorded_steps_are_the_steps(precision: Any) -> None:
    """One recording serves any rows, beams, steps and source lengths, and changes no bit."""
    backbone = t5.pair()[1]
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    quick, plain = prepare(backbone, precision), prepare(backbone, precision, trace=False)
    quick.traces = Traces(patience=1, background=False)
    with torch.inference_mode():
        for beams, steps in ((1, 3), (3, 6)):
            found = walk(quick, source, injected, beams, steps)
            expected = walk(plain, source, injected, beams, steps)
            torch.testing.assert_close(found, expected, atol=0, rtol=0)
            for row in (1, 7):
                part, one = alone(source, row), collate([lowered[row]])
                found = walk(quick, part, one, beams, steps)
                expected = walk(plain, part, one, beams, steps)
                torch.testing.assert_close(found, expected, atol=0, rtol=0)
    made = quick.traces.made
    assert len(made) == 3  # everything mixed, columns alone, columns with changes
    assert all(made.values())
    assert plain.traces is None


def test_recordings_are_made_beside_the_steps_and_kept_in_number() -> None:
    """Steps go on meanwhile; the kind that was used longest ago is let go."""
    backbone = t5.pair()[1]
    copy = prepare(backbone, "float32")
    copy.traces = traces = Traces(patience=2, kept=1)
    source, lora = t5.sources(), backbone.lower(every_prompt(backbone)[4])
    with torch.inference_mode():
        expected = walk(copy, source, NOTHING, 2, 1)
        assert not traces.made
        for prompt in (NOTHING, collate([lora])):
            walk(copy, source, prompt, 2, 3)
            traces.wait()
            (kind,) = traces.made
            assert bool(kind[1]) == bool(prompt.deltas)
        found = walk(copy, source, NOTHING, 2, 1)
        traces.wait()
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_steps_go_on_where_recording_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch without tracing answers the same, and is asked once for each kind of prompt."""
    backbone = t5.pair()[1]
    calls = []

    def broken(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise RuntimeError("tracing is gone")

    monkeypatch.setattr(torch.jit, "trace", broken)
    copy = prepare(backbone, "float32")
    copy.traces = Traces(patience=1)
    source = t5.sources()
    with torch.no_grad():
        for _ in range(2):
            found = walk(copy, source, NOTHING, 2, 3)
            copy.traces.wait()
        expected = walk(backbone, source, NOTHING, 2, 3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert len(calls) == 1
