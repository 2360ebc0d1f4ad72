"""Contract tests: every method is what it declares to be, on every family it names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.checkpoint import hash_tensors
from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Context, Given, Method
from codeprompt.plan import Plan
from codeprompt.registry import METHODS
from codeprompt.template import parse, resolve
from codeprompt.training.objective import Objective, Rows
from codeprompt.types import Example
from codeprompt.verbalizers import Verbalizer
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import TOGETHER, given_of

FAMILY = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}
WORDS = {"clean": ("clean", "good"), "defective": ("bad",)}
HARD = {"t5": "Is {code} wrong?", "roberta": "The code {code} is {mask}.", "llama": "{code}\nBad?"}
NAMES = [*METHODS.names(), *TOGETHER]
CASES = [(name, family) for name in NAMES for family in METHODS.get(name).families]
ABOUT = {"path": "src/a.py", "class": "A", "imports": "os"}
FIELDS = [
    {"code": "def f(x): return x", **ABOUT},
    {"code": "int g(void) { return 0; }", **ABOUT},
]


def made(name: str, family: str, kind: str = "classify"):  # type: ignore[no-untyped-def]
    """A method with defaults on a tiny backbone: (method, backbone, plan, module)."""
    method: Method = METHODS.get(name)
    backbone: Backbone = FAMILY[family]()
    given = given_of(method, backbone)
    settings = settings_of(method, given)
    hard = parse(HARD[family])
    template = resolve(method.fitted(hard, settings, given), backbone.tokenizer)
    head = method.head(backbone.family) if kind == "classify" else "verbalizer"
    verbalizer = Verbalizer.of(WORDS) if kind == "classify" and head == "verbalizer" else None
    labels = tuple(WORDS) if kind == "classify" else ()
    plan = Plan(backbone, template, kind, 64, 8, labels, "defective", verbalizer)
    words = tuple(ids for _, ids in plan.words)
    context = Context(backbone, template, 0, words, len(labels), head, given)
    return method, backbone, plan, method.build(context, settings)


def settings_of(method: Method, given: Sequence[Given]) -> Any:
    """The defaults, naming the pack to build on where a method takes one."""
    return method.configure({"of": given[0].name} if hasattr(method.settings, "of") else {})


def loss_of(plan: Plan, injection: Injection, kind: str) -> torch.Tensor:
    targets = ("returns it", "zero") if kind == "generate" else tuple(WORDS)
    rows = [Example(fields, target) for fields, target in zip(FIELDS, targets, strict=True)]
    objective = Objective(plan, Rows.of(plan, rows))
    return objective(injection, [0, 1], objective.weight([0, 1]))


@pytest.mark.parametrize(("name", "family"), CASES)
def test_settings_survive_json(name: str, family: str) -> None:
    """A card can keep a method's settings."""
    method = METHODS.get(name)
    settings = method.configure({})
    assert method.configure(json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_refused(name: str) -> None:
    """A wrong setting says which ones there are."""
    with pytest.raises(UsageError, match="no setting 'lenght'"):
        METHODS.get(name).configure({"lenght": 3})


@pytest.mark.parametrize(("name", "family"), CASES)
@pytest.mark.parametrize("kind", ["classify", "generate"])
def test_a_step_changes_only_what_the_method_says(name: str, family: str, kind: str) -> None:
    """One step lowers the loss' gradient into the method's parameters; a frozen backbone stays."""
    if kind == "generate" and family == "roberta":
        return
    method, backbone, plan, module = made(name, family, kind)
    before = hash_tensors(backbone.state_dict())
    trained = module.trained()
    assert bool(trained) == method.trains
    if not trained:
        return
    module.train()
    optimizer = torch.optim.SGD(trained, lr=0.5)
    loss_of(plan, module(), kind).backward()
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained)
    optimizer.step()
    changed = hash_tensors(backbone.state_dict()) != before
    assert changed is not method.frozen


@pytest.mark.parametrize(("name", "family"), CASES)
def test_what_is_exported_is_what_was_tuned(name: str, family: str) -> None:
    """The Injection of a pack gives the loss that the module gives in eval mode."""
    method, _, plan, module = made(name, family)
    module.eval()
    with torch.no_grad():
        tuned = loss_of(plan, module(), "classify")
        exported = Injection.from_tensors(module.export().tensors(), module.export().conventions())
        packed = loss_of(plan, exported, "classify")
    torch.testing.assert_close(packed, tuned)
    given = given_of(method, plan.backbone)
    assert bool(exported.weights) is not method.freezes(settings_of(method, given), given)


@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_same_seed_gives_the_same_start(name: str, family: str) -> None:
    """Initial values depend on the seed and on nothing else that draws numbers."""
    first = made(name, family)[3].export().tensors()
    torch.rand(7)
    second = made(name, family)[3].export().tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
