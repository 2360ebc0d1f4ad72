"""The loop: selection, early stop, modes, precision, checkpoints, and what can go wrong in it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.variant import own_copy
from codeprompt.errors import CodepromptError, DataError, TrainingError
from codeprompt.methods.base import PromptModule
from codeprompt.recipes import Recipe
from codeprompt.training import checkpoint, loop
from codeprompt.training.guard import fingerprint
from codeprompt.training.loop import Event, Loop
from codeprompt.types import Example
from tests.tiny import tiny_roberta, tiny_t5
from tests.tuned import module_of

TEXTS = ["returns the sum", "true if empty", "frees the list", "a new name", "the value", "no"]
TRAIN = [Example({"code": f"def f{i}(x): return x + {i}", "language": "python"}, t) for i, t in
         enumerate(TEXTS)]  # fmt: skip
DEFECTS = [
    Example({"code": f"int f(int *p) {{ {'return *p;' if i % 2 else 'if (p) return 0;'} }}"}, label)
    for i, label in enumerate(["clean", "defective"] * 3)
]
RECIPE: dict[str, Any] = {
    "steps": 6,
    "batch": 3,
    "evaluate_every": 3,
    "patience": 9,
    "lr": 0.01,
    "backbone_lr": 1e-3,
    "warmup": 0.0,
    "precision": "float32",
}


def loop_of(
    method: str = "soft",
    task: str = "summarize",
    family: str = "t5",
    *,
    dtype: torch.dtype = torch.float32,
    path: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    fingerprint: str = "run",
    train: list[Example] | None = None,
    options: dict[str, Any] | None = None,
    **recipe: Any,
) -> Loop:
    backbone = tiny_t5() if family == "t5" else tiny_roberta()
    if dtype != torch.float32:
        backbone = own_copy(backbone, dtype)  # type: ignore[assignment]
    plan, module = module_of(method, backbone, task, nudge=0.0, **(options or {}))
    rows = train if train is not None else (TRAIN if task == "summarize" else DEFECTS)
    return Loop(
        plan,
        module,
        Recipe(**{**RECIPE, **recipe}),
        rows,
        rows[:3],
        seed=0,
        metric="codexglue-sentence-bleu" if task == "summarize" else "accuracy",
        decoding=Decoding(max_new_tokens=6),
        fingerprint=fingerprint,
        path=path,
        on_event=on_event,
    )


def tensors(module: PromptModule) -> dict[str, torch.Tensor]:
    return checkpoint.snapshot(module)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    ("method", "task", "family", "rate"),
    [
        ("soft", "summarize", "t5", {"lr": 0.1}),
        ("soft", "summarize", "t5", {"lr": 0.3, "optimizer": "adafactor"}),
        ("prefix", "summarize", "t5", {"lr": 0.01}),
        ("ptuning-v2", "defect", "roberta", {"lr": 0.05}),
        ("mixed", "defect", "roberta", {"lr": 0.05}),
        ("lora", "defect", "t5", {"lr": 0.02}),
        ("full", "summarize", "t5", {"backbone_lr": 0.01}),
        ("prompt-full", "defect", "roberta", {"backbone_lr": 0.003}),
    ],
)
def test_it_learns(method: str, task: str, family: str, rate: dict[str, Any]) -> None:
    """The loss of every kind of method falls on six examples, under either optimiser."""
    made = loop_of(method, task, family, steps=40, batch=6, evaluate_every=10, **rate)
    history = made.run().history
    assert history[-1]["loss"] < 0.9 * history[0]["loss"], history


def test_the_best_on_dev_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later evaluations that are worse, equal or undefined change nothing."""
    scores = iter([1.0, 3.0, 3.0, float("nan"), 2.0])
    monkeypatch.setattr(loop, "dev_score", lambda *_: next(scores))
    seen: list[dict[str, torch.Tensor]] = []
    made = loop_of(steps=5, evaluate_every=1, on_event=lambda _: seen.append(tensors(made.module)))
    outcome = made.run()
    assert (outcome.best_step, outcome.best_score, outcome.steps) == (2, 3.0, 5)
    assert same(tensors(made.module), seen[1])
    assert not same(tensors(made.module), seen[4])


def test_a_run_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `patience` evaluations without a better one."""
    scores = iter([1.0, 2.0, 1.0, 1.0, 9.0])
    monkeypatch.setattr(loop, "dev_score", lambda *_: next(scores))
    outcome = loop_of(steps=100, evaluate_every=2, patience=2).run()
    assert (outcome.steps, outcome.best_step) == (8, 4)


def test_a_metric_that_never_is_defined_still_ends_with_a_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first evaluation is kept then."""
    monkeypatch.setattr(loop, "dev_score", lambda *_: float("nan"))
    assert loop_of().run().best_step == 3


@pytest.mark.parametrize("method", ["prefix", "full"])
def test_evaluating_does_not_disturb_training(method: str) -> None:
    """With dropout on, evaluating at every step or at the last one gives the same weights."""
    ends = []
    for every in (1, 4):
        seen: dict[int, dict[str, torch.Tensor]] = {}
        made = loop_of(method, steps=4, evaluate_every=every, dropout=True)
        made.on_event = lambda event, m=made, s=seen: s.update({event.step: tensors(m.module)})
        made.run()
        ends.append(seen)
    assert same(ends[0][4], ends[1][4])
    assert not same(ends[0][4], ends[0][3])


def test_the_callers_random_numbers_are_left_alone() -> None:
    """A run draws from a stream of its own, whatever was drawn before it."""
    first, second = loop_of("prefix"), loop_of("prefix")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first.run()
    assert torch.equal(torch.rand(3), expected)
    second.run()
    assert same(tensors(first.module), tensors(second.module))


def test_accumulating_gives_the_weights_of_the_whole_batch() -> None:
    """Two halves of a batch are one batch."""
    ends = []
    for batch, accumulate in ((4, 1), (2, 2)):
        made = loop_of("soft", batch=batch, accumulate=accumulate, clip=0.5)
        made.run()
        ends.append(tensors(made.module))
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=2e-4, rtol=0)


@pytest.mark.parametrize(("method", "dropout"), [("soft", False), ("soft", True), ("full", True)])
def test_the_backbone_has_dropout_only_where_it_is_asked_for(
    method: str, dropout: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In eval mode while a prompt trains by default; always in eval mode on the dev set."""
    modes: dict[str, set[bool]] = {"loss": set(), "dev": set()}
    made = loop_of(method, dropout=dropout)
    loss = made.objective.__call__
    made.objective = lambda *args: modes["loss"].add(made.backbone.training) or loss(*args)  # type: ignore[assignment, func-returns-value]
    made.objective.weight = lambda rows: len(rows)  # type: ignore[attr-defined, union-attr]
    monkeypatch.setattr(
        loop, "dev_score", lambda *_: modes["dev"].add(made.backbone.training) or 0.0
    )
    made.run()
    assert modes == {"loss": {dropout}, "dev": {False}}
    assert not made.backbone.training
    assert not made.module.training


@pytest.mark.parametrize("method", ["soft", "prefix", "lora"])
def test_a_bf16_backbone_keeps_prompts_and_their_gradients(method: str) -> None:
    """The prompt stays in float32, its gradient points as float32's does, the backbone stays."""
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        made = loop_of(method, dtype=dtype, options={"dropout": 0.0} if method == "prefix" else {})
        before = fingerprint(made.backbone)
        rows = list(range(len(TRAIN)))
        made.module.train()
        loss = made.objective(made.module(), rows, made.objective.weight(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.dtype == torch.float32 for p in made.parameters)
        gradients.append(torch.cat([p.grad.flatten() for p in made.parameters]))  # type: ignore[union-attr]
        made.run()
        assert fingerprint(made.backbone) == before
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_an_event_tells_each_step() -> None:
    """Step, mean loss since the last evaluation, dev score where there is one."""
    events: list[Event] = []
    loop_of(steps=5, evaluate_every=2, on_event=events.append).run()
    assert [event.step for event in events] == [1, 2, 3, 4, 5]
    assert [event.dev is not None for event in events] == [False, True, False, True, True]
    assert all(event.steps == 5 and event.loss > 0 for event in events)
    assert events[0].best is None
    assert events[-1].best is not None


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    """The message names the step, the rate and a better one."""
    with pytest.raises(TrainingError, match=r"The loss is nan at step 2.*--lr 1e\+37"):
        loop_of("ptuning-v2", lr=1e38, optimizer="adafactor").run()


@pytest.mark.parametrize(("train", "found"), [([], "0 rows to train on and 0 to select on")])
def test_a_run_needs_rows(train: list[Example], found: str) -> None:
    """Nothing to train or select on is an error of the data."""
    with pytest.raises(DataError, match=found):
        loop_of(train=train)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    """Its checkpoint holds the best tensors alone; resuming gives them back."""
    path = tmp_path / "run.safetensors"
    first = loop_of(path=path)
    outcome = first.run()
    second = loop_of(path=path, on_event=lambda _: pytest.fail("a step was taken"))
    assert second.resume()
    assert second.run() == outcome
    assert same(tensors(first.module), tensors(second.module))


def test_there_may_be_nothing_to_resume(tmp_path: Path) -> None:
    """A run without a checkpoint starts."""
    assert not loop_of(path=tmp_path / "none.safetensors").resume()
    assert not loop_of().resume()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    """Other settings, data or backbone."""
    path = tmp_path / "run.safetensors"
    loop_of(path=path).run()
    with pytest.raises(TrainingError, match="belongs to a run with other settings"):
        loop_of(path=path, fingerprint="another").resume()


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    """With the way out."""
    path = tmp_path / "run.safetensors"
    loop_of(path=path).run()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"cannot be read.*without --resume"):
        loop_of(path=path).resume()


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=["safetensors", "system"],
)
def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own error is told like the system's; nothing is left half-written."""
    path = tmp_path / "run.safetensors"
    loop_of(path=path).run()
    before = path.read_bytes()

    def full(*args: Any, **more: Any) -> None:
        args[1].write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CodepromptError, match=r"disk is full while writing .*--resume"):
        loop_of(path=path).run()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_writing_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow checkpoints are written less often; the last one always is."""
    clock = iter(range(0, 10_000_000, 10))  # every look at the clock is ten seconds later
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    written: list[int] = []

    def slow(path: Path, progress: Any, *rest: Any) -> None:
        written.append(progress.step)
        for _ in range(100):
            next(clock)

    monkeypatch.setattr(checkpoint, "save", slow)
    loop_of(path=tmp_path / "x", steps=30, evaluate_every=1, patience=99).run()
    assert written == [1, 30]
