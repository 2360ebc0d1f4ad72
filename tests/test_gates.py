"""Gates: the published formulas in float64, mixed batches, members as rows, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.serving import prepare
from codeprompt.engine import Engine, Request
from codeprompt.errors import PackError, UsageError
from codeprompt.inject import Gate, Injection, Query, collate
from codeprompt.methods.base import Context, Given
from codeprompt.methods.spot import nearest
from codeprompt.registry import METHODS
from codeprompt.template import parse
from codeprompt.training import guard
from codeprompt.training.objective import Objective, Rows
from codeprompt.types import Example
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of, pack_of, prompt_of

TINY = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}


def double(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def weights_by_hand(gate: Gate, x: np.ndarray) -> np.ndarray:
    """softmax(LN(up SiLU(down max x)) . keys) over the best `top`, as the papers write it."""
    query = gate.query
    assert query is not None
    pooled = x.max(0)
    h = double(query.down) @ pooled
    h = double(query.up) @ (h / (1 + np.exp(-h)))
    h = (h - h.mean()) / np.sqrt(h.var() + 1e-5) * double(query.weight) + double(query.bias)
    scores = double(query.keys) @ h
    if gate.top:
        scores[np.argsort(scores)[: len(scores) - gate.top]] = -np.inf
    found: np.ndarray = np.exp(scores - scores.max())
    return found / found.sum()


@pytest.mark.parametrize("name", ["attempt", "mixture"])
@pytest.mark.parametrize("family", list(TINY))
def test_slots_are_what_the_papers_formula_gives(name: str, family: str) -> None:
    """P(x) = P_t + sum_k a_k P_k, in a batch with padding, against numpy in float64."""
    backbone: Backbone = TINY[family]()
    plan, module = module_of(name, backbone, "defect")
    gate = module.export().gate
    assert gate is not None
    rows = [plan.render(fields)[0] for fields in FIELDS]
    width = max(len(r.ids) for r in rows)
    pad = backbone.tokenizer.pad_id
    ids = torch.tensor([[*r.ids, *[pad] * (width - len(r.ids))] for r in rows])
    slots = torch.tensor([[*r.slots, *[-1] * (width - len(r.slots))] for r in rows])
    mask = torch.tensor([[True] * len(r.ids) + [False] * (width - len(r.ids)) for r in rows])
    vectors = backbone.embedding(ids).detach()
    found = collate([Injection(gate=gate)]).embed(vectors, slots, mask)
    for row, rendered in enumerate(rows):
        real = np.array([i for i, s in enumerate(rendered.slots) if s < 0])
        shares = weights_by_hand(gate, double(vectors[row])[real])
        assert np.count_nonzero(shares) == (gate.top or gate.count)
        mixed = np.einsum("k,kpd->pd", shares, double(gate.sources))
        if gate.target is not None:
            mixed = mixed + double(gate.target)
        soft = [i for i, s in enumerate(rendered.slots) if s >= 0]
        np.testing.assert_allclose(double(found[row])[soft], mixed, atol=1e-5)


@pytest.mark.parametrize("family", ["t5", "llama"])
@pytest.mark.parametrize("name", ["attempt", "mixture"])
def test_a_mixed_batch_gives_each_row_its_own_gate(name: str, family: str) -> None:
    """Gated, soft and hard prompts in one batch, on the backbone and on its serving copy."""
    backbone: Backbone = TINY[family]()
    prompts = [prompt_of(n, backbone, "summarize") for n in (name, "hard", "soft", "prefix")]
    rows = [Row(i % 4, FIELDS[i % 3]) for i in range(6)]
    for model in (backbone, prepare(backbone, "float32")):
        together = answer(model, prompts, rows)
        for row, found in zip(rows, together, strict=True):
            assert found.text == answer(model, prompts, [row])[0].text
            assert found.score == pytest.approx(answer(model, prompts, [row])[0].score, abs=1e-5)


def test_the_load_balance_loss_is_one_at_its_least() -> None:
    """1 where rows spread alike over N prompts, N where one prompt takes them all."""
    one = torch.eye(4)
    query = Query(torch.eye(4), torch.eye(4), torch.ones(4), torch.zeros(4), 50 * one)
    gate = Gate(torch.zeros(4, 2, 4), query)
    real = torch.ones(4, 1, dtype=torch.bool)
    spread = gate.balance_loss(5 * one[:, None], real)
    heap = gate.balance_loss(5 * one[:1].expand(4, -1)[:, None], real)
    assert float(spread) == pytest.approx(1.0, abs=1e-3)
    assert float(heap) == pytest.approx(4.0, abs=1e-3)


def test_sources_must_be_alike_and_soft() -> None:
    """No sources, one without slots, unlike lengths: each is told with what to do."""
    backbone, method = tiny_t5(), METHODS.get("attempt")
    hard, settings = parse("Is {code} wrong?"), method.configure({"sources": ["one", "two"]})
    assert method.configure({"sources": "one"}).sources == ("one",)

    def given(*lengths: int | None) -> list[Given]:
        return [
            Given(str(n), Injection(slots=None if n is None else torch.zeros(n, 32)), hard)
            for n in lengths
        ]

    with pytest.raises(UsageError, match="--set sources=PACK"):
        method.fitted(hard, settings, ())
    with pytest.raises(UsageError, match="no soft vectors"):
        method.fitted(hard, settings, given(None))
    with pytest.raises(UsageError, match="unlike lengths: '3' 3, '4' 4"):
        method.fitted(hard, settings, given(3, 4))
    with pytest.raises(UsageError, match="bring their own"):
        method.fitted(parse("{soft:2}{code}"), settings, given(3))
    assert Context(backbone, hard).given == ()


def test_a_damaged_gate_is_refused() -> None:
    """A gate that lacks a part, or whose shapes do not fit."""
    pack = pack_of("attempt", tiny_t5(), "summarize")
    tensors = pack.injection.tensors()
    whole = Injection.from_tensors(tensors).gate
    assert whole is not None and whole.target is not None and whole.count == 4
    with pytest.raises(PackError, match="gate has only"):
        Injection.from_tensors({k: t for k, t in tensors.items() if k != "gates.slots.keys"})
    wrong = {**tensors, "gates.slots.keys": torch.zeros(2, 32)}
    from codeprompt.pack.fit import check_shapes

    with pytest.raises(PackError, match=r"gates.slots.keys' has the shape \[2, 32\]"):
        check_shapes(Injection.from_tensors(wrong), tiny_t5())


def forced(prompt: Prompt, k: int) -> Prompt:
    """The same gate, sure of one source whatever the row says."""
    gate = prompt.injection.gate
    assert gate is not None and gate.query is not None
    size = gate.query.bias.shape[0]
    keys = torch.zeros(gate.count, size)
    keys[k] = 1e4
    query = replace(gate.query, weight=torch.zeros(size), bias=torch.ones(size), keys=keys)
    return replace(prompt, injection=replace(prompt.injection, gate=replace(gate, query=query)))


def alone(prompt: Prompt, k: int) -> Prompt:
    """One source as a soft prompt."""
    gate = prompt.injection.gate
    assert gate is not None
    return replace(prompt, injection=Injection(slots=gate.sources[k], head=prompt.injection.head))


@pytest.mark.parametrize(("family", "task"), [("t5", "defect"), ("roberta", "defect"),
                                              ("t5", "summarize"), ("llama", "defect"),
                                              ("llama", "summarize")])  # fmt: skip
@pytest.mark.parametrize("served", [False, True])
def test_an_ensemble_sure_of_one_source_is_that_source(
    family: str, task: str, served: bool
) -> None:
    """SESoM's limit, for labels and for text, on the backbone and on its serving copy."""
    backbone: Backbone = TINY[family]()
    model = prepare(backbone, "float32") if served else backbone
    prompt = prompt_of("sesom", backbone, task)
    for k in range(3):
        rows = [Row(0, fields) for fields in FIELDS]
        found = answer(model, [forced(prompt, k)], rows)
        wanted = answer(model, [alone(prompt, k)], rows)
        for one, other in zip(found, wanted, strict=True):
            assert one.text == other.text
            assert one.score == pytest.approx(other.score, abs=1e-5)


def test_label_probabilities_are_mixed_by_the_gate() -> None:
    """sum_k a_k p_k, with the weights of the formula and each source's own answer."""
    backbone = tiny_t5()
    prompt = prompt_of("sesom", backbone, "defect")
    gate = prompt.injection.gate
    assert gate is not None
    for fields in FIELDS:
        (rendered,) = prompt.plan.render(fields)
        real = [t for t, s in zip(rendered.ids, rendered.slots, strict=True) if s < 0]
        shares = weights_by_hand(gate, double(backbone.embedding(torch.tensor(real))))
        rows = [Row(k, fields) for k in range(3)]
        each = answer(backbone, [alone(prompt, k) for k in range(3)], rows)
        wanted = sum(a * p.probabilities["clean"] for a, p in zip(shares, each, strict=True))
        found = answer(backbone, [prompt], [Row(0, fields)])[0]
        assert found.probabilities["clean"] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("family", ["t5", "llama"])
@pytest.mark.parametrize("beams", [1, 3])
def test_written_text_is_mixed_at_every_step(beams: int, family: str) -> None:
    """The score of a greedy answer is the log of sum_k a_k p_k, as it is trained; batches agree."""
    backbone: Backbone = TINY[family]()
    prompts = [prompt_of(n, backbone, "summarize") for n in ("sesom", "soft", "attempt")]
    prompts = [replace(p, decoding=Decoding(max_new_tokens=8, beams=beams)) for p in prompts]
    rows = [Row(i % 3, FIELDS[i // 2]) for i in range(6)]
    for model in (backbone, prepare(backbone, "float32")):
        together = answer(model, prompts, rows)
        for row, found in zip(rows, together, strict=True):
            own = answer(model, prompts, [row])[0]
            assert (found.text, found.score) == (own.text, pytest.approx(own.score, abs=1e-5))
    guard.check_agrees(prompts[0].plan, prompts[0].injection, Example(FIELDS[0]))


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_the_engine_answers_for_ensembles_beside_others(family: str) -> None:
    """Rows of several members board, step and leave beside rows of one; as `answer` has it."""
    backbone: Backbone = TINY[family]()
    packs = {n: pack_of(n, backbone, "summarize") for n in ("sesom", "soft", "lora")}
    with Engine(backbone, precision="float32") as engine:
        for name, pack in packs.items():
            engine.load(pack, name)
        asked = [Request(n, {**f, "code": f["code"] * (1 + i)})
                 for i, f in enumerate(FIELDS) for n in packs]  # fmt: skip
        wanted = engine.predict(asked)
        futures = [engine.submit(request) for request in asked]
        for future, other in zip(futures, wanted, strict=True):
            found = future.result()
            assert (found.text, found.score) == (other.text, pytest.approx(other.score, abs=1e-5))


def test_only_the_gate_of_an_ensemble_trains() -> None:
    """Sources are frozen; the pack holds both."""
    _, module = module_of("sesom", tiny_t5(), "summarize")
    assert {n.rpartition(".")[2] for n, p in module.named_parameters() if p.requires_grad} == {
        "down", "up", "weight", "bias"}  # fmt: skip
    assert set(module.export().tensors()) == {
        f"gates.outputs.{part}" for part in ("sources", "down", "up", "weight", "bias", "keys")
    }


def test_an_ensemble_of_soft_prompts_votes_or_takes_the_mean() -> None:
    """N independent prompts: the mean of their probabilities, or the label that most say."""
    backbone = tiny_t5()
    for fields in FIELDS:
        for combine in ("mean", "votes"):
            prompt = prompt_of("soft", backbone, "defect", prompts=3, combine=combine, length=4)
            rows = [Row(k, fields) for k in range(3)]
            each = answer(backbone, [alone(prompt, k) for k in range(3)], rows)
            found = answer(backbone, [prompt], [Row(0, fields)])[0]
            mean = sum(p.probabilities["clean"] for p in each) / 3
            votes = sum(p.text == "clean" for p in each) / 3
            wanted = mean if combine == "mean" else votes
            assert found.probabilities["clean"] == pytest.approx(wanted, abs=1e-3)


def test_the_prompts_of_an_ensemble_learn_apart() -> None:
    """The gradient of each is that of training it alone, over N."""
    backbone = tiny_t5()
    plan, module = module_of("soft", backbone, "defect", prompts=2, length=4)
    objective = Objective(plan, Rows.of(plan, [Example(f, "clean") for f in FIELDS]))
    objective(module(), [0, 1, 2], 3).backward()
    (bank,) = module.trained()
    assert bank.grad is not None
    for k in range(2):
        own = bank[k].detach().clone().requires_grad_(True)
        objective(Injection(slots=own), [0, 1, 2], 3).backward()
        assert own.grad is not None
        torch.testing.assert_close(bank.grad[k], own.grad / 2, atol=1e-6, rtol=1e-4)


def test_a_prompt_starts_from_the_nearest_source() -> None:
    """SPoT: the cosine of mean tokens decides; several are weighed by it."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(3, 4, 8, generator=generator)
    target = sources[1] + 0.1 * torch.randn(4, 8, generator=generator)
    assert torch.equal(nearest(sources, target, 1), sources[1])
    means = double(sources).mean(1)
    own = double(target).mean(0)
    alike = means @ own / np.linalg.norm(means, axis=1) / np.linalg.norm(own)
    best = np.argsort(-alike)[:2]
    weights = np.maximum(alike[best], 0) / np.maximum(alike[best], 0).sum()
    wanted = np.einsum("k,kpd->pd", weights, double(sources)[best])
    np.testing.assert_allclose(double(nearest(sources, target, 2)), wanted, atol=1e-6)
    with pytest.raises(UsageError, match="top is 9"):
        module_of("spot", tiny_t5(), "defect", top=9)
