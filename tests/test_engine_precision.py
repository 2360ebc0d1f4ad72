"""The engine's number format: how it is chosen, what it is called, what it frees and keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt import processor
from codeprompt.backbones.serving import kernels
from codeprompt.backbones.serving.store import Store
from codeprompt.engine import Engine, Request
from codeprompt.engine import precision as module
from codeprompt.engine import scheduler as scheduling
from codeprompt.engine.precision import cache_folder, choose
from codeprompt.engine.trim import one_heap, trim
from codeprompt.inject import Injection
from codeprompt.pack import Pack, make_pack
from codeprompt.template import parse, resolve
from tests.test_engine import assert_same
from tests.test_engine_scheduler import LONG
from tests.tiny import tiny_roberta, tiny_t5
from tests.tuned import FIELDS, pack_of

CPU = torch.device("cpu")
needs_int8 = pytest.mark.skipif(kernels.int8_kernel() is None, reason="no int8 product here")


@pytest.mark.parametrize(
    ("kernel", "fast", "expected"),
    [(kernels.Fbgemm, True, "int8"), (None, True, "bf16"), (None, False, "float32")],
)
def test_auto_is_the_fastest_that_works(
    monkeypatch: pytest.MonkeyPatch, kernel: Any, fast: bool, expected: str
) -> None:
    """int8 where there is a product for it, else bf16 where it is fast, else float32."""
    monkeypatch.setattr(kernels, "int8_kernel", lambda: kernel)
    monkeypatch.setattr(processor, "bf16_is_fast", lambda: fast)
    assert choose("auto", CPU) == expected
    assert choose("float32", CPU) == "float32"


@pytest.mark.parametrize("precision", ["float32", "bf16", pytest.param("int8", marks=needs_int8)])
@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_an_engine_says_what_it_computes_in(make: Any, precision: Any) -> None:
    """By the name that was asked for."""
    with Engine(make(), precision=precision) as engine:
        assert engine.precision == engine.model.precision == precision


def deep(backbone: Any) -> Pack:
    """Vectors before every encoder layer, which become columns where the pack is loaded."""
    torch.manual_seed(0)
    layers = {"encoder": torch.randn(backbone.stacks["encoder"], 3, backbone.d_model)}
    return make_pack(
        injection=Injection(layers=layers),  # type: ignore[arg-type]
        backbone=backbone,
        name="deep",
        task="summarize",
        method="soft",
        template=resolve(parse("Summarize: {code}"), backbone.tokenizer),
        source_length=64,
        target_length=8,
        decoding={"max_new_tokens": 8},
    )


@pytest.mark.parametrize("precision", ["float32", "bf16", pytest.param("int8", marks=needs_int8)])
def test_a_backbone_loaded_by_name_is_freed_and_answers_the_same(
    tmp_path: Path, precision: Any
) -> None:
    """Its weights are held once; packs that need them whole (tuned weights, deep vectors) load."""
    given = tiny_t5(tmp_path)
    packs = [pack_of("soft", given, "summarize"), pack_of("full", given, "summarize"), deep(given)]
    answers = []
    for backbone in (given, str(tmp_path)):
        with Engine(backbone, precision=precision) as engine:
            names = [engine.load(pack) for pack in packs]
            answers.append(engine.predict([Request(name, FIELDS[1]) for name in names]))
            kept = engine.backbone.get_parameter("encoder.block.0.layer.0.SelfAttention.q.weight")
            assert bool(kept.numel()) == (backbone is given)
    for found, expected in zip(*answers, strict=True):
        assert_same(found, expected)


@needs_int8
def test_int8_weights_are_kept_between_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the user's cache folder, for backbones that take long to make; not for small ones."""
    tiny_t5(tmp_path)
    with Engine(str(tmp_path), precision="int8") as engine:
        kept = Store(cache_folder(), engine.backbone.hash).path
    assert not kept.exists()
    monkeypatch.setattr(module, "WORTH_KEEPING", 0)
    Engine(str(tmp_path), precision="int8").close()
    assert any(kept.iterdir())
    monkeypatch.setattr("codeprompt.backbones.serving.linear.quantise", None)
    Engine(str(tmp_path), precision="int8").close()


@needs_int8
def test_kept_weights_are_not_taken_for_a_pack_that_holds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuned model has the name of the backbone it came from, and other weights."""
    pack = pack_of("full", tiny_t5(tmp_path), "summarize")
    tuned = {n: t + 0.3 * torch.randn_like(t) for n, t in pack.injection.weights.items()}
    pack = replace(pack, injection=replace(pack.injection, weights=tuned))
    answers = []
    for least in (10**12, 0):  # nothing is kept, then everything
        monkeypatch.setattr(module, "WORTH_KEEPING", least)
        with Engine(str(tmp_path), precision="int8") as engine:
            answers += engine.predict([Request(engine.load(pack), FIELDS[0])])
    assert_same(*answers)


def test_memory_is_given_back_anywhere() -> None:
    """On a C library that has no call for it, nothing happens."""
    one_heap()
    trim()


def test_an_engine_that_never_rests_gives_memory_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between turns, though work waits all the time."""
    seen: list[int] = []
    monkeypatch.setattr(scheduling, "UNREST", 0.0)
    with Engine(tiny_t5(), precision="float32") as engine:
        monkeypatch.setattr(scheduling, "trim", lambda: seen.append(len(engine.scheduler.queue)))
        name = engine.load(pack_of("soft", engine.backbone, "summarize"))
        futures = [engine.submit(Request(name, FIELDS[0], LONG)) for _ in range(2)]
        assert [future.result(timeout=60).text for future in futures] and seen
