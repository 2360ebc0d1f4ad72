"""Several prompts in one batch: the gradients, runs and packs of each alone."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.errors import UsageError
from codeprompt.pack import load
from codeprompt.recipes import Recipe
from codeprompt.training.keeping import Keeping, StopError
from codeprompt.training.loop import Loop
from codeprompt.training.setup import TuneRequest
from codeprompt.training.together import losses_back, run_together, tune_together
from codeprompt.training.tune import tune
from codeprompt.types import Example
from tests.tiny import tiny_llama, tiny_roberta, tiny_t5
from tests.tuned import FIELDS, module_of

MIXED = [("soft", "summarize"), ("prefix", "translate"), ("lora", "defect"), ("mixture", "defect"),
         ("soft", "defect")]  # fmt: skip
SEVERAL: dict[str, Any] = {"prompts": 2}


def loop_of(name: str, backbone: Backbone, task: str, **options: Any) -> Loop:
    """A loop over six rows, in two parts a step; of the whole precision of the backbone."""
    plan, module = module_of(name, backbone, task, nudge=0.1, **options)
    module.to(backbone.embedding.weight.dtype)
    words = ("clean", "defective") if task == "defect" else ("adds values", "x")
    rows = [
        Example({**f, "code": f["code"] * (1 + i % 2)}, words[i % 2], str(i))
        for i, f in enumerate([*FIELDS, *FIELDS])
    ]
    recipe = Recipe(steps=3, batch=2, accumulate=2, evaluate_every=2, lr=0.01)
    metric = "mcc" if task == "defect" else "chrf"
    return Loop(plan, module, recipe, rows, rows[:2], seed=3, metric=metric,
                decoding=Decoding(max_new_tokens=3))  # fmt: skip


def cases(backbone: Backbone) -> list[tuple[str, str, dict[str, Any]]]:
    found = [
        (name, task, {"dropout": 0.0} if name == "prefix" else {})
        for name, task in MIXED
        if backbone.family == "t5" or (task == "defect" and backbone.family == "roberta")
        or (name != "mixture" and backbone.family == "llama")
    ]  # fmt: skip
    return [*found, ("soft", found[-1][1], SEVERAL)]


@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta, tiny_llama])
def test_gradients_in_a_mixed_batch_are_those_of_each_alone(make: Any) -> None:
    """Tasks, methods, lengths, members of an ensemble: equal in float64."""
    backbone = make().double()
    several = cases(backbone)
    assert len(several) >= 4
    together = [loop_of(name, backbone, task, **o) for name, task, o in several]
    alone = [loop_of(name, backbone, task, **o) for name, task, o in several]
    losses = losses_back(together)
    for loop, one, loss in zip(together, alone, losses, strict=True):
        one.module.train()
        loop.module.train()
        parts, weight = one.batch()
        assert len(parts) == 2
        total = 0.0
        for rows in parts:
            part = one.objective(one.module(), rows, weight)
            part.backward()
            total += part.item()
        assert loss == pytest.approx(total, abs=1e-9)
        for mine, its in zip(loop.parameters, one.parameters, strict=True):
            assert mine.grad is not None and its.grad is not None
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-7, atol=1e-9)
    assert all(p.grad is None for p in backbone.parameters())


def test_runs_together_end_as_alone() -> None:
    """Dropout, evaluation, unlike ends: every run draws its own numbers and leaves when done."""
    backbone = tiny_t5().double()
    several = [("prefix", "summarize", {}), ("soft", "defect", {}), ("prefix", "translate", {})]
    together = [loop_of(name, backbone, task, **o) for name, task, o in several]
    alone = [loop_of(name, backbone, task, **o) for name, task, o in several]
    for loops in (together, alone):
        object.__setattr__(loops[1].recipe, "steps", 2)
    found = run_together(together)
    assert [outcome.steps for outcome in found] == [3, 2, 3]
    for outcome, loop, one in zip(found, together, alone, strict=True):
        its = one.run()
        assert outcome.best_score == pytest.approx(its.best_score)
        assert [h["loss"] for h in outcome.history] == pytest.approx(
            [h["loss"] for h in its.history], abs=1e-7
        )
        for mine, other in zip(loop.parameters, one.parameters, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def request(folder: Path, task: str, name: str, **more: Any) -> TuneRequest:
    """Quick, over rows that are written here."""
    data = folder / f"{task}.jsonl"
    target = {"defect": "target", "summarize": "docstring"}[task]
    rows = [
        {"code": f"def f{i}(x):\n    return x + {i}", "language": "python",
         target: i % 2 if task == "defect" else f"adds {i}", "path": f"f{i}.py"}
        for i in range(30)
    ]  # fmt: skip
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick = {"steps": 3, "evaluate_every": 2, "batch": 2, "shots": 4, "dev": 3,
             "source_length": 48, "target_length": 5, "precision": "float32"}  # fmt: skip
    values = {"backbone": str(folder / "t5"), "allow_hub": False, "overrides": quick, **more}
    return TuneRequest(task, str(data), folder / name, **values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_t5(tmp_path / "t5")
    return tmp_path


def test_packs_tuned_together_are_those_tuned_alone(folder: Path) -> None:
    """Two seeds, two tasks, two methods: the same scores and tensors."""
    asked = [
        request(folder, "summarize", "s", seeds=(0, 1)),
        request(folder, "defect", "d", seeds=(0, 1), method="lora"),
    ]
    news: list[tuple[str, int]] = []
    results = tune_together(asked, lambda r, seed, event: news.append((r.out.name, seed)))
    assert set(news) == {("s", 0), ("s", 1), ("d", 0), ("d", 1)}
    for one, result in zip(asked, results, strict=True):
        alone = tune(request(folder, one.task, f"{one.out.name}-alone", seeds=(0, 1),
                             method=one.method))  # fmt: skip
        assert [v for _, v in result.dev_scores] == pytest.approx(
            [v for _, v in alone.dev_scores], abs=1e-4
        )
        mine, other = (load(r.path).injection.tensors() for r in (result, alone))
        for name, tensor in mine.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)
        assert not (folder / f".{one.out.name}.tuning").exists()


def test_packs_that_were_stopped_go_on(folder: Path) -> None:
    """Each from its own checkpoint, wherever that is: the packs are those of an undisturbed run."""
    tasks = {"s": "summarize", "d": "defect"}
    calm = tune_together([request(folder, task, f"{n}-calm") for n, task in tasks.items()])
    asked = itertools.count()
    keeping = Keeping(0.0, math.inf, lambda: next(asked) == 2)  # in the second step of the first
    with pytest.raises(StopError):
        tune_together([request(folder, task, n) for n, task in tasks.items()], None, keeping)
    steps: list[tuple[str, int]] = []
    found = tune_together(
        [request(folder, task, n, resume=True) for n, task in tasks.items()],
        lambda r, seed, event: steps.append((r.out.name, event.step)),
    )
    assert steps == [("s", 3), ("d", 2), ("d", 3)]
    for one, other in zip(found, calm, strict=True):
        for name, tensor in load(one.path).injection.tensors().items():
            assert torch.equal(tensor, load(other.path).injection.tensors()[name])


def test_what_cannot_share_a_batch_is_refused(folder: Path) -> None:
    """Nothing, one folder for two, unlike backbones, seeds or precisions, tuned weights."""
    one = request(folder, "summarize", "s")
    with pytest.raises(UsageError, match="nothing to tune"):
        tune_together([])
    for match, other in {
        "would be written to": request(folder, "defect", "s"),
        "unlike backbones": request(folder, "defect", "d", backbone="builtin"),
        "1 and 2 seeds": request(folder, "defect", "d", seeds=(0, 1)),
        "'full' .* cannot share a batch": request(folder, "defect", "d", method="full"),
        "'hard' .* cannot share a batch": request(folder, "defect", "d", method="hard"),
        "backbone's dropout": request(folder, "defect", "d", overrides={"dropout": True}),
        "unlike precisions": request(folder, "defect", "d", overrides={"precision": "bf16"}),
    }.items():
        with pytest.raises(UsageError, match=match):
            tune_together([one, other])
    assert not (folder / "s").exists()
