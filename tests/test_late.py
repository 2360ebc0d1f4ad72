"""Late prompts: Hugging Face's layers with the papers' formula between them, batches, the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from codeprompt.answer import Row, answer
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.serving import prepare
from codeprompt.engine import Engine, Request
from codeprompt.errors import PackError, UsageError
from codeprompt.inject import Injection, Late, collate, interpolated, join
from codeprompt.inject.late import stretches
from codeprompt.pack.fit import check_shapes
from codeprompt.passes import passed
from codeprompt.training.objective import Objective, Rows
from codeprompt.types import Example
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of, pack_of, prompt_of

TINY = {"t5": tiny_t5, "roberta": tiny_roberta}
DEEP = {"t5": {"num_layers": 4}, "roberta": {"num_hidden_layers": 4}}
TASK = {"t5": "summarize", "roberta": "defect"}


def by_hand(late: Late, states: np.ndarray) -> np.ndarray:
    """P(x) of one row [P,d] in float64: states [n,d] of its real tokens."""
    vectors, down, up = (
        t.detach().double().numpy() for t in (late.vectors, late.down, late.up) if t is not None
    )
    normed = states / np.sqrt((states**2).mean(-1, keepdims=True) + 1e-6)
    cut = F.adaptive_avg_pool1d(torch.tensor(normed.T)[None], len(vectors))[0].T.numpy()
    return np.asarray(vectors + np.tanh(cut @ down.T) @ up.T)


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_a_late_prompt_is_hugging_faces_layers_with_the_formula_between(
    family: str, tmp_path: Path
) -> None:
    """Layers below m with the slots masked, P(x) in float64 at m, the layers above as they are."""
    from transformers import RobertaModel, T5EncoderModel

    backbone: Backbone = TINY[family](tmp_path, **DEEP[family])
    plan, module = module_of("late", backbone, "defect", layer=2, length=3)
    injection = module.export()
    assert injection.late is not None and injection.late.layer == 2
    with torch.no_grad():
        found = passed(plan, injection, [plan.render(FIELDS[2])])
    source = found.sources[0]
    assert source.slots is not None
    soft = source.slots[0] >= 0
    kind = T5EncoderModel if family == "t5" else RobertaModel
    theirs = kind.from_pretrained(tmp_path, attn_implementation="eager").eval()
    layers = theirs.encoder.block if family == "t5" else theirs.encoder.layer
    x = backbone.embedding(source.ids).detach()
    x[0, soft] = 0.0
    more = {}
    if family == "roberta":  # they give every position of `inputs_embeds` the next id, as we do
        more = {"position_ids": torch.arange(x.shape[1])[None] + 2}
    with torch.no_grad():
        below = theirs(
            inputs_embeds=x, attention_mask=(~soft)[None].long(), output_hidden_states=True, **more
        ).hidden_states[2]
        entered = below.clone()
        made = by_hand(injection.late, below[0, ~soft].double().numpy())
        entered[0, soft] = torch.tensor(made)[source.slots[0][soft]].float()
        layers[2].register_forward_pre_hook(lambda _, args: (entered, *args[1:]))
        wanted = theirs(
            inputs_embeds=x, attention_mask=torch.ones_like(source.ids), **more
        ).last_hidden_state
    torch.testing.assert_close(found.hidden[0], wanted, atol=1e-4, rtol=1e-4)


def test_at_layer_zero_without_a_generator_it_is_a_soft_prompt() -> None:
    """The limit on T5, whose layers read the bare embeddings."""
    backbone = tiny_t5()
    plan, module = module_of("late", backbone, "summarize", layer=0, rank=0)
    injection = module.export()
    assert injection.late is not None and injection.late.up is None
    rows = [plan.render(fields) for fields in FIELDS]
    with torch.no_grad():
        found = passed(plan, injection, rows).hidden[0]
        wanted = passed(plan, Injection(slots=injection.late.vectors), rows).hidden[0]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_stretches_are_those_of_adaptive_pooling_whatever_the_padding() -> None:
    """More tokens than stretches and fewer; slots and padding in none of them."""
    for count in (1, 3, 7):
        real = torch.zeros(3, 12, dtype=torch.bool)
        for row, places in enumerate(([0, 3, 4, 5, 6, 9], [1], list(range(12)))):
            real[row, places] = True
            x = torch.randn(len(places), 5)
            wide = torch.full((12, 5), 1e3)
            wide[places] = x
            found = stretches(real, count)[row] @ wide
            torch.testing.assert_close(found, F.adaptive_avg_pool1d(x.T[None], count)[0].T)


@pytest.mark.parametrize("family", ["t5", "roberta"])
@pytest.mark.parametrize("served", [False, True])
def test_a_mixed_batch_lets_each_prompt_enter_at_its_own_layer(family: str, served: bool) -> None:
    """Three layers, soft and hard prompts in one batch, as each alone on the backbone."""
    backbone: Backbone = TINY[family](**DEEP[family])
    model = prepare(backbone, "float32") if served else backbone
    task = TASK[family]
    prompts = [prompt_of("late", backbone, task, layer=n, length=2 + n) for n in (0, 1, 3)]
    prompts += [prompt_of(n, backbone, task) for n in ("soft", "hard", "ptuning-v2")]
    rows = [Row(i % 6, FIELDS[i // 2 % 3]) for i in range(9)]
    for row, found in zip(rows, answer(model, prompts, rows), strict=True):
        own = answer(backbone, prompts, [row])[0]
        assert (found.text, found.score) == (own.text, pytest.approx(own.score, abs=1e-5))


def test_the_engine_answers_for_late_prompts_beside_others() -> None:
    """Rows join and leave a running batch."""
    backbone = tiny_t5()
    packs = {n: pack_of(n, backbone, "summarize") for n in ("late", "soft", "lora")}
    with Engine(backbone, precision="float32") as engine:
        for name, pack in packs.items():
            engine.load(pack, name)
        asked = [Request(n, f) for f in FIELDS for n in packs]
        wanted = engine.predict(asked)
        for future, other in zip([engine.submit(r) for r in asked], wanted, strict=True):
            found = future.result()
            assert (found.text, found.score) == (other.text, pytest.approx(other.score, abs=1e-5))


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_what_is_kept_below_changes_neither_loss_nor_gradient(family: str) -> None:
    """With the cache and without; the second step runs no layer below m."""
    backbone: Backbone = TINY[family](**DEEP[family])
    plan, module = module_of("late", backbone, "defect", layer=2)
    rows = Rows.of(plan, [Example(f, "clean") for f in FIELDS])
    kept, anew = Objective(plan, rows), Objective(plan, rows)
    anew.states.fits = False
    layers = backbone.encoder.block if family == "t5" else backbone.roberta.encoder.layer  # type: ignore[union-attr]
    calls = []
    first = layers[0].layer[0].layer_norm if family == "t5" else layers[0].attention.self.query  # type: ignore[index, union-attr]
    first.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr]
    found = []
    for objective in (anew, kept, kept):
        before = len(calls)
        module.zero_grad()
        loss = objective(module(), [2, 0, 1], 3)
        loss.backward()  # type: ignore[no-untyped-call]
        grads = [p.grad.clone() for p in module.trained() if p.grad is not None]
        found.append((loss.detach(), grads, len(calls) - before))
    assert found[2][2] == 0 < found[1][2]
    for loss, grads, _ in found[1:]:
        torch.testing.assert_close(loss, found[0][0])
        torch.testing.assert_close(grads, found[0][1], atol=1e-5, rtol=1e-4)


def test_nothing_is_kept_where_something_trained_lies_below() -> None:
    """Deltas, columns, or layer 0: the whole pass runs."""
    backbone = tiny_t5()
    plan, module = module_of("late", backbone, "defect")
    states = Objective(plan, Rows.of(plan, [Example(f, "clean") for f in FIELDS])).states
    late = module.export()
    prefix = backbone.lower(module_of("prefix", backbone, "defect")[1].export())
    assert states.span(late) is not None
    assert states.span(join(late, prefix)) is None
    assert late.late is not None
    assert states.span(replace(late, late=replace(late.late, layer=0))) is None


def test_alpha_leads_to_the_template_with_its_slots_masked() -> None:
    """WiSE-FT: at 0 no real token sees a late prompt, and all that is left is the frozen model."""
    backbone = tiny_t5()
    plan, module = module_of("late", backbone, "summarize")
    closed = interpolated(module.export(), 0.0, {})
    with torch.no_grad():
        found = passed(plan, closed, [plan.render(FIELDS[0])])
        source = found.sources[0]
        assert source.slots is not None
        real = (source.slots < 0)[0]
        bare = replace(source, mask=source.mask & (source.slots < 0), slots=None)
        wanted = backbone.encode(bare)[0][real]
    torch.testing.assert_close(found.hidden[0][0][real], wanted, atol=1e-5, rtol=1e-5)


def test_a_late_prompt_that_does_not_fit_is_refused() -> None:
    """Half a generator, a layer that is not there, shapes, another family, settings."""
    injection = pack_of("late", tiny_t5(), "summarize").injection
    tensors = injection.tensors()
    with pytest.raises(PackError, match="late prompt has only layer, vectors, down"):
        Injection.from_tensors({k: t for k, t in tensors.items() if k != "late.up"})
    wrong = {**tensors, "late.up": torch.zeros(3, 64)}
    with pytest.raises(PackError, match=r"late.up' has the shape \[3, 64\]"):
        check_shapes(Injection.from_tensors(wrong), tiny_t5())
    high = {**tensors, "late.layer": torch.tensor([7.0])}
    with pytest.raises(PackError, match="enters at layer 7"):
        check_shapes(Injection.from_tensors(high), tiny_t5())
    with pytest.raises(PackError, match="with an encoder"):
        check_shapes(injection, tiny_llama())
    with pytest.raises(PackError, match="Two prompts with soft slots"):
        join(injection, Injection(slots=torch.zeros(2, 32)))
    with pytest.raises(UsageError, match="0 to 1, or -1 for the middle"):
        module_of("late", tiny_t5(), "summarize", layer=2)
    with pytest.raises(UsageError, match="length 0"):
        module_of("late", tiny_t5(), "summarize", length=0)
    assert collate([injection]).late is not None
