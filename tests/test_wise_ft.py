"""WiSE-FT: alpha = 0 is the frozen model exactly, alpha = 1 the tuned one, and paths between."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.serving import prepare
from codeprompt.backbones.variant import with_weights
from codeprompt.errors import PackError, UsageError
from codeprompt.inject import Columns, Injection, collate, interpolated
from codeprompt.methods.base import Context, Given
from codeprompt.passes import passed
from codeprompt.plan import Plan
from codeprompt.registry import METHODS
from codeprompt.template import parse
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of

TINY = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}
BEHIND = ("agent", "mixed", "ptuning")
"""Methods whose last slot stands behind the template's last word there."""
CASES = [
    (name, family)
    for name in METHODS.names()
    for family in METHODS.get(name).families
    if name not in ("hard", "wise-ft")
    and (name, family) != ("full", "roberta")  # no cloze: `full-template` stands for it
    and (name, family) not in [(name, "llama") for name in BEHIND]
]


def tuned_on(name: str, family: str) -> tuple[Backbone, Plan, Injection]:
    """A backbone, a plan on it, and what a method tuned there, with the verbalizer as its head."""
    backbone = TINY[family]()
    task = "summarize" if family == "llama" and name != "sesom" else "defect"
    plan, module = module_of(name, backbone, task, head="verbalizer")
    return backbone, plan, module.export()


def states(plan: Plan, injection: Injection, model: Backbone) -> torch.Tensor:
    """What the model makes of two rows of unlike lengths: label scores, or the first logits."""
    plan = replace(plan, backbone=model)
    bare = replace(injection, weights={}, head=None)
    with torch.no_grad():
        rows = [plan.render(fields) for fields in FIELDS]
        found = passed(plan, bare, rows)
        if plan.kind == "classify":
            return found.label_scores(plan)
        memory = model.remember(found.hidden[0], found.sources[0], found.injected)  # type: ignore
        start = torch.full((len(rows), 1), model.start_id)
        return model.logits(model.decode(start, memory, found.injected))  # type: ignore


def at(alpha: float, backbone: Backbone, tuned: Injection) -> tuple[Injection, Backbone]:
    lowered = replace(backbone.lower(replace(tuned, weights={})), weights=tuned.weights)
    found = interpolated(lowered, alpha, backbone.state_dict())
    return found, with_weights(backbone, found.weights) if found.weights else backbone


def frozen(plan: Plan, tuned: Injection, backbone: Backbone) -> torch.Tensor:
    """The model without the prompt; slots stand, with whatever in them, and are masked."""
    if not tuned.length:
        return states(plan, Injection(), backbone)
    shut = torch.full((tuned.length,), -math.inf)
    noise = torch.randn(tuned.length, backbone.d_model)
    return states(plan, Injection(slots=noise, slot_scale=shut), backbone)


@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_ends_are_the_frozen_model_and_the_tuned_one(name: str, family: str) -> None:
    """Every method of every kind, weights included; and the path between moves smoothly."""
    backbone, plan, tuned = tuned_on(name, family)
    zero, one = at(0.0, backbone, tuned), at(1.0, backbone, tuned)
    torch.testing.assert_close(
        states(plan, *zero), frozen(plan, tuned, backbone), atol=1e-5, rtol=1e-5
    )
    whole = with_weights(backbone, tuned.weights) if tuned.weights else backbone
    lowered = backbone.lower(replace(tuned, weights={}))
    torch.testing.assert_close(states(plan, *one), states(plan, lowered, whole))
    near = at(1 - 1e-4, backbone, tuned)
    assert float((states(plan, *near) - states(plan, *one)).abs().max()) < 0.02
    half = states(plan, *at(0.5, backbone, tuned))
    assert float((half - states(plan, *one)).abs().max()) > 1e-6
    assert float((half - states(plan, *zero)).abs().max()) > 1e-6


@pytest.mark.parametrize("family", ["t5", "roberta"])
def test_masked_slots_are_tokens_that_nothing_reads(family: str) -> None:
    """At alpha = 0 the hidden states of real tokens are those of a pass that masks the slots."""
    backbone, plan, tuned = tuned_on("soft", family)
    injection, _ = at(0.0, backbone, tuned)
    rows = [plan.render(FIELDS[0])]
    with torch.no_grad():
        found = passed(plan, injection, rows)
        source = found.sources[0]
        assert source.slots is not None
        real = (source.slots < 0)[0]
        if family == "t5":
            bare = replace(source, mask=source.mask & (source.slots < 0), slots=None)
            wanted = backbone.encode(bare)[0][real]  # type: ignore[operator]
        else:  # positions are counted over the mask: hide the slots in attention alone
            bias = torch.zeros(source.mask.shape).masked_fill(source.slots >= 0, -math.inf)
            hook = Injection(slots=torch.zeros_like(tuned.slots))  # type: ignore[arg-type]
            x = backbone.roberta.embeddings(source, collate([hook]))  # type: ignore
            for layer in backbone.roberta.encoder.layer:  # type: ignore[union-attr]
                x = layer(x, bias[:, None, None, :], collate([Injection()]))
            wanted = x[0][real]
    torch.testing.assert_close(found.hidden[0][0][real], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", list(TINY))
def test_half_open_prompts_share_batches_on_the_serving_copy(family: str) -> None:
    """Slots and columns at alpha 0, 0.3 and 1 in one batch, as each alone on the backbone."""
    backbone = TINY[family]()
    task = "defect" if family == "roberta" else "summarize"
    prompts = []
    for name in ("soft", "prefix"):
        plan, module = module_of(name, backbone, task)
        for alpha in (0.0, 0.3, 1.0):
            prompts.append(Prompt(plan, at(alpha, backbone, module.export())[0]))
    prompts = [replace(p, decoding=replace(p.decoding, max_new_tokens=6)) for p in prompts]
    rows = [Row(i % 6, FIELDS[i % 3]) for i in range(9)]
    together = answer(prepare(backbone, "float32"), prompts, rows)
    for row, found in zip(rows, together, strict=True):
        alone = answer(backbone, prompts, [row])[0]
        assert (found.text, found.score) == (alone.text, pytest.approx(alone.score, abs=1e-5))


def test_weights_are_averaged_and_columns_take_log_alpha() -> None:
    """The formulas themselves."""
    own, tuned = {"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([5.0, 3.0])}
    found = interpolated(Injection(weights=tuned), 0.25, own).weights["w"]
    assert found.tolist() == [2.0, 3.0]
    columns = Columns(torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1), torch.tensor([0.0, -1.0]))
    moved = interpolated(Injection(columns={"encoder": columns}), 0.5, {}).columns["encoder"]
    assert moved.log_scale is not None
    assert moved.log_scale.tolist() == pytest.approx([math.log(0.5), math.log(0.5) - 1])
    with pytest.raises(PackError, match="lower them first"):
        interpolated(Injection(layers={"encoder": torch.zeros(1, 1, 1)}), 0.5, {})


def test_settings_are_checked() -> None:
    """No pack, or an alpha that is none."""
    method = METHODS.get("wise-ft")
    with pytest.raises(UsageError, match="Name a tuned one: --set of=PACK"):
        method.fitted(parse("{code}"), method.configure({}), ())
    with pytest.raises(UsageError, match=r"alpha is 1\.5"):
        method.configure({"alpha": 1.5})


def test_a_candidate_is_what_the_card_says() -> None:
    """One candidate an alpha, the smallest first; a given alpha is the only one."""
    _, module = module_of("wise-ft", tiny_t5(), "summarize", alphas=[1.0, 0.0, 0.5])
    found = list(module.candidates())
    assert [what["alpha"] for what, _ in found] == [0.0, 0.5, 1.0]
    assert [one.slot_scale is None for _, one in found] == [False, False, True]
    _, module = module_of("wise-ft", tiny_t5(), "summarize", alpha=0.25)
    assert [what for what, _ in module.candidates()] == [{"alpha": 0.25}]


@pytest.mark.parametrize("name", BEHIND)
def test_a_decoder_that_goes_on_from_a_slot_has_no_frozen_end(name: str) -> None:
    """Its next token is made of that slot's own state, whoever may read the slot."""
    backbone, plan, tuned = tuned_on(name, "llama")
    given = (Given("p", tuned, plan.template),)
    method = METHODS.get("wise-ft")
    context = Context(backbone, plan.template, given=given)
    with pytest.raises(UsageError, match=r"'p' ends its template with a slot"):
        method.build(context, method.configure({"of": "p"}))
    front = Given("q", Injection(slots=torch.zeros(1, backbone.d_model)), parse("{soft:1}{code}"))
    method.build(replace(context, given=(front,)), method.configure({"of": "q"}))


def test_what_is_declared_is_what_is_packed() -> None:
    """`frozen` of the default base; `freezes` of the pack or base that is named."""
    method = METHODS.get("wise-ft")
    assert not method.frozen
    given = [
        Given("p", Injection(slots=torch.zeros(1, 2)), parse("{soft:1}{code}")),
        Given("w", Injection(weights={"x": torch.zeros(1)}), parse("{code}")),
    ]
    for options, packs, frozen in (
        ({}, (), False),
        ({"base": "lora"}, (), True),
        ({"of": "p"}, given[:1], True),
        ({"of": "w"}, given[1:], False),
    ):
        assert method.freezes(method.configure(options), packs) is frozen
