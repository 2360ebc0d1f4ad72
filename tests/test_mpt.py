"""Multitask prompt tuning: peft's product, the distillation's formulas, two stages, two rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from codeprompt.errors import UsageError
from codeprompt.inject import Injection
from codeprompt.methods.base import Lessons
from codeprompt.methods.mpt import Multitask
from codeprompt.passes import passed
from codeprompt.recipes import load
from codeprompt.registry import METHODS
from codeprompt.training.lessons import distance, learn
from codeprompt.training.objective import Rows
from codeprompt.types import Example
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of


def multitask(module: torch.nn.Module) -> Multitask:
    return next(m for m in module.modules() if isinstance(m, Multitask))


def taught(family: str, task: str, **options: object):  # type: ignore[no-untyped-def]
    """A plan, its module, that module's lessons, and rows."""
    backbone = {"t5": tiny_t5, "roberta": tiny_roberta, "llama": tiny_llama}[family]()
    plan, module = module_of("mpt", backbone, task, nudge=0.0, **options)
    targets = {
        "defect": ("clean", "defective", "clean"),
        "summarize": ("a list", "b", "the sum"),
        "localize": ("1", "1", "1"),
    }[task]
    rows = Rows.of(plan, [Example(f, t) for f, t in zip(FIELDS, targets, strict=True)])
    lessons = module.lessons()
    assert lessons is not None
    return plan, module, lessons, rows


def test_prompts_are_the_products_that_peft_makes() -> None:
    """P_k = P* o (u_k v_k^T), of every source and of the target, nudged."""
    peft = pytest.importorskip("peft.tuners.multitask_prompt_tuning")
    _, module = module_of("mpt", tiny_t5(), "summarize")
    own = multitask(module)
    count, length = own.bent_u.shape
    size = own.shared.shape[1]
    config = peft.MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=length, token_dim=size, num_ranks=1,
        num_tasks=count, num_transformer_submodules=1, prompt_tuning_init="RANDOM",
    )  # fmt: skip
    theirs = peft.MultitaskPromptEmbedding(config, torch.nn.Embedding(9, size))
    with torch.no_grad():
        theirs.embedding.weight.copy_(own.shared)
        theirs.prefix_task_cols.copy_((1 + own.pace * own.bent_u)[..., None])
        theirs.prefix_task_rows.copy_((1 + own.pace * own.bent_v)[:, None])
        for k in range(count):
            found = theirs(torch.arange(length)[None], torch.tensor([k]))[0]
            torch.testing.assert_close(own.prompt(k), found)
    slots = module.export().slots
    assert slots is not None
    torch.testing.assert_close(slots, own.prompt(count - 1).detach())


def test_factors_start_at_one_and_the_shared_prompt_at_the_teachers_mean() -> None:
    """So that no gradient is lost at the first step."""
    _, module, lessons, _ = taught("t5", "summarize")
    own = multitask(module)
    teachers = torch.stack([t.slots for t in lessons.teachers if t.slots is not None])
    torch.testing.assert_close(own.shared.detach(), teachers.mean(0))
    assert float((own.pace * own.bent_u.detach()).abs().max()) < 0.1


@pytest.mark.parametrize(
    ("family", "task"), [("t5", "defect"), ("roberta", "defect"), ("t5", "summarize"),
                         ("llama", "summarize")],
)  # fmt: skip
def test_the_distance_is_that_of_the_paper(family: str, task: str) -> None:
    """KL(teacher || student) in float64 + MSE of hidden states; nothing from a prompt to itself."""
    plan, _, lessons, rows = taught(family, task)
    student, teacher = lessons.student(0), lessons.teachers[1]
    index = [1]  # one row: no padding to leave out by hand
    found = distance(plan, student, teacher, rows, index)
    states, tables = [], []
    for prompt in (student, teacher):
        with torch.no_grad():
            p = passed(plan, prompt, [rows.rendered[1]])
            model = plan.backbone
            states.append(model.token_states(p.hidden[0], p.sources[0], p.injected).double())
            if task == "defect":
                table = p.label_scores(plan)
            else:
                ids = rows.targets[1]
                memory = model.remember(p.hidden[0], p.sources[0], p.injected)  # type: ignore[operator]
                read = torch.tensor([[model.start_id, *ids[:-1]]])
                table = model.logits(model.decode(read, memory, p.injected))[0]  # type: ignore[operator]
            tables.append(table.double().log_softmax(-1).numpy())
    own, wanted = tables
    kl = (np.exp(wanted) * (wanted - own)).sum(-1).mean()
    mse = float(((states[0] - states[1]) ** 2).mean())
    assert found.item() == pytest.approx(kl + mse, rel=1e-3, abs=1e-6)
    assert distance(plan, teacher, teacher, rows, [0, 1, 2]).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_lessons_bring_the_students_to_their_teachers() -> None:
    """Stage 1 lowers the distance to every teacher, and the target takes the mean factors."""
    plan, module, lessons, rows = taught("t5", "defect", lessons=60)
    own = multitask(module)

    def apart() -> list[float]:
        with torch.no_grad():
            return [
                distance(plan, lessons.student(k), teacher, rows, [0, 1, 2]).item()
                for k, teacher in enumerate(lessons.teachers)
            ]

    before = apart()
    recipe = load("few-shot", task="defect", method="mpt", kind="prompt")
    losses = learn(plan, module, lessons, rows, recipe, 0)
    assert len(losses) == 60
    assert all(after < 0.8 * first for after, first in zip(apart(), before, strict=True))
    for part in (own.bent_u, own.bent_v):
        torch.testing.assert_close(part[-1], part[:-1].mean(0))


def test_factors_learn_at_a_rate_of_their_own() -> None:
    """One step of Adam moves u and v `pace` times as far as P*."""
    plan, module, _, _ = taught("t5", "defect", pace=5.0)
    own = multitask(module)

    def factors() -> torch.Tensor:
        return torch.cat([1 + own.pace * own.bent_u[-1], 1 + own.pace * own.bent_v[-1]]).detach()

    first, shared = factors(), own.shared.detach().clone()
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-3)
    found = passed(plan, module(), [plan.render(f) for f in FIELDS])
    found.label_scores(plan)[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = (own.shared.detach() - shared).abs().median()
    assert float(((factors() - first).abs().median() / moved).detach()) == pytest.approx(
        5.0, rel=0.01
    )


def test_a_linear_head_leaves_hidden_states_to_compare() -> None:
    """A head belongs to one prompt: the distance is the states' alone."""
    plan, _, lessons, rows = taught("t5", "localize")
    assert plan.verbalizer is None
    assert distance(plan, lessons.student(0), lessons.teachers[0], rows, [0]).item() > 0


def test_settings_are_checked() -> None:
    """No pace, no number of lessons."""
    method = METHODS.get("mpt")
    with pytest.raises(UsageError, match="lessons is -1"):
        method.configure({"lessons": -1})
    with pytest.raises(UsageError, match="pace 0"):
        method.configure({"pace": 0.0})


def test_no_lessons_leave_the_prompt_at_its_start() -> None:
    """`lessons=0` is the target's stage alone."""
    plan, module, lessons, rows = taught("t5", "defect", lessons=0)
    before = module.export().slots
    recipe = load("few-shot", task="defect", method="mpt", kind="prompt")
    assert learn(plan, module, replace(lessons, steps=0), rows, recipe, 0) == []
    after = module.export().slots
    assert before is not None and after is not None
    torch.testing.assert_close(after, before)
    assert isinstance(lessons, Lessons) and isinstance(lessons.student(0), Injection)
