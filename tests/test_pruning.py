"""Training in stages, and what prunes between them: importance, rewinding, what is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codeprompt.errors import UsageError
from codeprompt.forward import generation_loss, pad_labels
from codeprompt.inject import Injection, collate
from codeprompt.methods._pruning import Prunable, top
from codeprompt.pack import load
from codeprompt.passes import passed
from codeprompt.registry import METHODS
from codeprompt.template import kept_slots, parse
from codeprompt.training.tune import tune
from tests.killing import request_for, write_data
from tests.tiny import tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of


def alone(length: int = 6, size: int = 32, layers: int = 1, kept: Any = (0.5,)) -> Prunable:
    generator = torch.Generator().manual_seed(3)
    return Prunable(torch.randn(layers, length, size, generator=generator), 16, kept)


def test_importance_is_the_papers_formula() -> None:
    """E|dL/dgamma| of vectors, then of pieces where pruned vectors are zero, in plain numpy."""
    made = alone()
    targets = torch.randn(3, 1, 6, 32, generator=torch.Generator().manual_seed(4))
    made.advance(0, lambda: (((made.pruned() - t) ** 2).sum() for t in targets))
    v, t = made.rewound.double().numpy(), targets.double().numpy()
    by_token = sum(np.abs((2 * (v - one) * v).sum((0, 2))) for one in t)
    np.testing.assert_allclose(made.token_scores.numpy(), by_token, rtol=1e-4)
    alive = np.zeros(6)
    alive[np.argsort(-by_token)[:3]] = 1
    assert made.tokens.tolist() == [bool(a) for a in alive]
    left = v * alive[None, :, None]
    by_piece = sum(
        np.abs((2 * (left - one) * left).reshape(1, 6, 16, 2).sum(-1)) for one in t
    )  # fmt: skip
    np.testing.assert_allclose(made.piece_scores.numpy(), by_piece, rtol=1e-4, atol=1e-5)
    assert made.pieces.sum(-1).tolist() == [[8] * 6]


def test_survivors_go_back_to_their_values_after_the_first_training() -> None:
    """At every later stage, by what the first one scored; importance takes no step."""
    made = alone(kept=(0.5, 0.2))

    def losses() -> Iterator[torch.Tensor]:
        yield (made.pruned() ** 3).sum()

    before = made.values.detach().clone()
    made.advance(0, losses)
    assert torch.equal(made.values, before)
    with torch.no_grad():
        made.values.add_(1)
    made.advance(1, losses)
    assert torch.equal(made.values, before)
    assert made.stages == (False, True, True)
    assert made.pruned().shape == (1, 1, 32)
    assert made.values.grad is None


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_a_pruned_token_is_a_masked_one(family: str) -> None:
    """Slots dropped at the front leave what stands behind as if no position looked at them."""
    backbone: Any = tiny_t5() if family == "t5" else tiny_roberta()
    if family == "roberta":  # what stands behind moves up: without positions nothing else changes
        with torch.no_grad():
            table = backbone.roberta.embeddings.position_embeddings.weight
            table.copy_(table[5].expand_as(table).clone())
    plan, module = module_of("xprompt", backbone, "defect", length=4)
    hard = (
        "{soft:4}{start}The code {code} is {mask}."
        if family == "roberta"
        else "{soft:4}{start}{code}"
    )
    plan = replace(plan, template=parse(hard))  # nothing stands before the slots
    own: Any = module.parts["slots"]
    whole = module.export()
    mask = torch.tensor([-torch.inf, -torch.inf, 0.0, 0.0])
    masked = replace(whole, slot_scale=mask)
    own.tokens.copy_(torch.tensor([False, False, True, True]))
    gone = module.export()
    assert gone.slots is not None and gone.slots.shape[0] == 2
    short = replace(plan, template=module.fitted(plan.template))
    assert str(short.template).startswith("{soft:2}")
    for fields in FIELDS[:2]:
        one = passed(plan, masked, [plan.render(fields)]).label_scores(plan)
        other = passed(short, gone, [short.render(fields)]).label_scores(short)
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["xprompt", "e2vpt"])
def test_a_pruned_piece_is_a_zeroed_one(name: str) -> None:
    """Exactly, with the loss of the prompt whose piece is zero."""
    backbone = tiny_t5()
    plan, module = module_of(name, backbone, "summarize", length=3)
    own: Any = next(iter(module.parts.values()))
    with torch.no_grad():
        own.pieces[..., 1, 4] = False
        pruned = module.export()
        own.pieces.fill_(True)
        own.values[..., 1, 8:10] = 0
        zeroed = module.export()
    for key, tensor in zeroed.tensors().items():
        assert torch.equal(pruned.tensors()[key], tensor), key
    assert float(loss(plan, pruned)) == float(loss(plan, zeroed))


def loss(plan: Any, injection: Injection) -> torch.Tensor:
    lowered = plan.backbone.lower(injection)
    found = passed(plan, lowered, [plan.render(FIELDS[0])])
    labels = pad_labels([plan.target_ids("returns it")])
    return generation_loss(
        plan.backbone, found.sources[0], found.hidden[0], labels, collate([lowered])
    )


def test_a_template_loses_its_slots() -> None:
    """Segment by segment; one without any is gone, shared ones lose theirs everywhere."""
    template = parse('{soft:2}a{soft:3 share="x"}b{soft:3 share="x"}{soft:1}{code}')
    found = kept_slots(template, [False, False, True, False, True, True])
    assert str(found) == 'a{soft:2 share="x"}b{soft:2 share="x"}{soft:1}{code}'


def test_at_least_one_is_kept() -> None:
    """However small the share; a share that is none is refused."""
    assert top(torch.tensor([[1.0, 3.0], [2.0, 1.0]]), 0.01).tolist() == [
        [False, True],
        [True, False],
    ]
    with pytest.raises(UsageError, match="the kept shares are"):
        METHODS.get("xprompt").configure({"kept": 0})
    with pytest.raises(UsageError, match="the kept shares are"):
        METHODS.get("e2vpt").configure({"kept": [0.5, 1.5]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_a_pack_holds_what_is_left(place: Path, tmp_path: Path) -> None:
    """Slots and template of half the length; steps of both stages are told."""
    events: list[tuple[int, int]] = []
    request = request_for(place, tmp_path / "pack", "xprompt", seeds=1)
    request = replace(request, options={"length": 6})
    result = tune(request, lambda _, event: events.append((event.step, event.steps)))
    pack = load(result.path)
    assert pack.injection.slots is not None
    assert pack.injection.slots.shape[0] == 3
    assert str(pack.template).startswith("{soft:3}")
    assert events == [(step, 24) for step in range(1, 25)]


def test_dev_chooses_among_the_shares(place: Path, tmp_path: Path) -> None:
    """The outcome is of one of the pruned stages, never of the first training."""
    request = request_for(place, tmp_path / "pack", "e2vpt", seeds=1, steps=4, evaluate_every=2)
    request = replace(request, options={"length": 10, "kept": [0.2, 0.4]})
    pack = tune(request).pack
    assert pack.injection.layers["encoder"].shape[1] in (2, 4)
    assert torch.equal(
        pack.injection.columns["encoder"].key, pack.injection.columns["encoder"].value
    )
