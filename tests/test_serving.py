"""Serving copies answer as the backbones they are made of, whatever stands beside a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Backbone, Source
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import generate
from codeprompt.backbones.serving import ServingT5, copied, prepare
from codeprompt.backbones.t5 import T5
from codeprompt.errors import BackboneError
from codeprompt.inject import Injected, Injection, collate
from tests import test_roberta as roberta
from tests import test_t5 as t5
from tests.serving_rows import (
    alone,
    divergence,
    every_prompt,
    mixed,
    needs_int8,
    teacher_forced,
    walk,
)
from tests.tiny import tiny_roberta, tiny_t5


@pytest.mark.parametrize("switches", t5.SWITCHES.values(), ids=t5.SWITCHES)
def test_float32_copy_equals_the_pass(switches: dict[str, object]) -> None:
    """Every switch of real configurations: the same logits within 1e-4, forced and step by step."""
    backbone = t5.pair(**switches)[1]
    copy = prepare(backbone, "float32")
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    with torch.no_grad():
        expected = teacher_forced(backbone, source, injected)
        torch.testing.assert_close(
            teacher_forced(copy, source, injected), expected, atol=1e-4, rtol=1e-4
        )
        target = torch.randint(3, 99, (len(lowered), 7), generator=torch.Generator().manual_seed(2))
        memory = copy.remember(copy.encode(source, injected), source, injected)
        state = copy.begin(memory, injected, 1, 7)
        stepped = torch.cat([copy.step(target[:, t : t + 1], state) for t in range(7)], 1)
    torch.testing.assert_close(stepped, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("beams", [1, 4])
def test_float32_copy_generates_the_same_tokens(beams: int) -> None:
    """A mixed batch, greedy and by beams, with rows that end and leave early."""
    backbone = t5.pair()[1]
    copy = prepare(backbone, "float32")
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    settings = Decoding(max_new_tokens=9, beams=beams, candidates=beams)

    def run(model: Any, eos: int) -> list[list[tuple[int, ...]]]:
        with torch.no_grad():
            memory = model.remember(model.encode(source, injected), source, injected)
            found = generate(model, memory, injected, settings, eos=eos, pad=0, start=0)
        return [[h.ids for h in row] for row in found]

    eos = run(backbone, 98)[0][0][2]
    expected = run(backbone, eos)
    assert len({len(ids) for row in expected for ids in row}) > 1
    assert run(copy, eos) == expected


@pytest.mark.parametrize("beams", [1, 3])
def test_float32_copy_mixes_without_a_trace(beams: int) -> None:
    """A row of a mixed batch of prompts gives the logits it gives alone, within 1e-5."""
    backbone = t5.pair()[1]
    copy = prepare(backbone, "float32")
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    with torch.no_grad():
        together = walk(copy, source, injected, beams, 5)
        expected = walk(backbone, source, injected, beams, 5)
        torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)
        for row, prompt in enumerate(lowered):
            single = walk(copy, alone(source, row), collate([prompt]), beams, 5)
            torch.testing.assert_close(together[row : row + 1], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("precision", "bound"), [("bf16", 1e-3), pytest.param("int8", 3e-3, marks=needs_int8)]
)
def test_narrow_copies_stay_near(precision: Any, bound: float) -> None:
    """Mean KL from float32 under every prompt: bf16 below 1e-3, int8 below 3e-3 nats."""
    backbone = scaled(t5.pair()[1])
    copy = prepare(backbone, precision)
    assert copy.precision == precision
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    with torch.no_grad():
        expected = teacher_forced(backbone, source, injected)
        assert divergence(teacher_forced(copy, source, injected), expected) < bound


@pytest.mark.parametrize(
    ("precision", "bound"), [("bf16", 1e-3), pytest.param("int8", 3e-3, marks=needs_int8)]
)
@pytest.mark.parametrize("beams", [1, 8])
def test_narrow_steps_stay_near(precision: Any, bound: float, beams: int) -> None:
    """The same bounds step by step, with few beams and with many."""
    backbone = scaled(t5.pair()[1])
    copy = prepare(backbone, precision)
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    with torch.inference_mode():
        expected = walk(backbone, source, injected, beams, 4)
        assert divergence(walk(copy, source, injected, beams, 4), expected) < bound


@needs_int8
def test_int8_copy_mixes_without_a_trace() -> None:
    """A row of a mixed batch of prompts gives what it gives alone: mean KL below 1e-4 nats.

    The products are exact whatever stands beside; what is left is float32 rounding before them.
    """
    backbone = scaled(t5.pair()[1])
    copy = prepare(backbone, "int8")
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    target = torch.randint(3, 99, (len(lowered), 7), generator=torch.Generator().manual_seed(2))

    def run(rows: Source, some: Injected, ids: Tensor) -> Tensor:
        memory = copy.remember(copy.encode(rows, some), rows, some)
        return copy.logits(copy.decode(ids, memory, some))

    with torch.no_grad():
        together = run(source, injected, target)
        for row, prompt in enumerate(lowered):
            single = run(alone(source, row), collate([prompt]), target[row : row + 1])
            assert divergence(together[row : row + 1], single) < 1e-4


def scaled(backbone: T5) -> T5:
    """Embeddings as small as a trained model's logits ask for (random ones are near certain)."""
    with torch.no_grad():
        backbone.shared.weight.mul_(0.3)
    return backbone


ROBERTA_COPIES = [
    ("float32", 1e-9),
    ("bf16", 1e-3),
    pytest.param("int8", 3e-3, marks=needs_int8),
]


@pytest.mark.parametrize(("precision", "bound"), ROBERTA_COPIES)
def test_roberta_copies_stay_near(precision: Any, bound: float) -> None:
    """Under every prompt: float32 logits within 1e-4, mean KL of bf16 and int8 bounded."""
    backbone = roberta.pair()[1]
    copy = prepare(backbone, precision)
    lowered = [backbone.lower(p) for p in roberta.prompts(backbone)]
    injected = collate(lowered, range(len(lowered)))
    rows = roberta.sources(5)
    index = torch.arange(len(lowered)) % 5
    slots = torch.full_like(rows.ids[index], -1)
    for row, prompt in enumerate(lowered):
        slots[row, : prompt.length] = torch.arange(prompt.length)
    source = Source(rows.ids[index], rows.mask[index], slots)
    at = torch.zeros(len(lowered), 2, dtype=torch.long)
    with torch.no_grad():
        expected = backbone.mask_logits(backbone.encode(source, injected), at, injected)
        found = copy.mask_logits(copy.encode(source, injected), at, injected).float()
    if precision == "float32":
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert divergence(found, expected) < bound


@pytest.mark.parametrize("length", [1, 24, 50])
def test_a_source_in_pieces_is_the_source(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """However many tokens pass the layers together, every prompt's rows are the same."""
    backbone = t5.pair()[1]
    copy = prepare(backbone, "float32")
    lowered = [backbone.lower(p) for p in every_prompt(backbone)]
    source, injected = mixed(lowered), collate(lowered, range(len(lowered)))
    with torch.no_grad():
        expected = copy.encode(source, injected)
        monkeypatch.setattr(copied, "TOKENS", length)
        torch.testing.assert_close(copy.encode(source, injected), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_a_copy_projects_columns_as_its_backbone(make: Any) -> None:
    """At every site and layer the float32 copy makes the same keys and values of vectors."""
    backbone = make()
    copy, vectors = prepare(backbone, "float32"), torch.randn(3, backbone.d_model)
    for site, shape in backbone.sites.items():
        for layer in range(shape.layers):
            expected = backbone.project_columns(site, layer, vectors, Injection())
            found = copy.project_columns(site, layer, vectors, Injection())
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_lowering_on_a_copy_equals_the_backbones(make: Any) -> None:
    """Layer vectors become the same prompt columns on the float32 copy."""
    backbone = make()
    vectors = torch.randn(backbone.stacks["encoder"], 3, backbone.d_model)
    prompt = Injection(layers={"encoder": vectors})
    copy = prepare(backbone, "float32")
    expected, found = backbone.lower(prompt), copy.lower(prompt)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(found.tensors()[name], tensor, atol=1e-5, rtol=1e-5)


def test_another_family_is_refused() -> None:
    """A backbone without a serving pass is a clear error."""
    with pytest.raises(BackboneError, match="no serving pass"):
        prepare(Backbone(), "float32")


def test_a_copy_is_typed_by_its_family() -> None:
    """A T5 gives a `ServingT5` that knows its backbone's name, hash and start token."""
    backbone = tiny_t5()
    copy = prepare(backbone, "float32")
    assert isinstance(copy, ServingT5)
    assert (copy.name, copy.hash, copy.start_id) == (
        backbone.name,
        backbone.hash,
        backbone.start_id,
    )
