"""The order of rows, the rates, Adafactor, the objective, the measures: what a step is made of."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch

from codeprompt.errors import UsageError
from codeprompt.metrics.base import Item
from codeprompt.recipes import Recipe
from codeprompt.training import states
from codeprompt.training.adafactor import Adafactor
from codeprompt.training.calibrate import threshold
from codeprompt.training.measure import peak_memory_mb
from codeprompt.training.objective import Objective, Rows
from codeprompt.training.optim import optimizer_for, rate_share, set_rates
from codeprompt.training.order import Order
from codeprompt.types import Example
from tests.tiny import tiny_t5
from tests.tuned import FIELDS, module_of


def lengths(count: int, seed: int = 0) -> list[int]:
    """Lengths as code has them: many short rows, a few long ones."""
    draw = random.Random(seed)
    return [min(256, int(draw.lognormvariate(4.3, 0.8))) for _ in range(count)]


@pytest.mark.parametrize(("total", "batch"), [(64, 16), (10, 4), (3, 8), (1, 1), (100, 7)])
def test_every_epoch_has_every_row(total: int, batch: int) -> None:
    """No row is dropped, and batches are full."""
    order = Order(lengths(total), batch, seed=1)
    for epoch in range(3):
        steps = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
        batches = [order.rows(step) for step in steps]
        assert {row for rows in batches for row in rows} == set(range(total))
        assert {len(rows) for rows in batches} == {min(batch, total)}


def test_the_order_depends_on_seed_and_step_alone() -> None:
    """Asked in any order, by any instance, a step has the same rows."""
    first, second = Order(lengths(50), 8, seed=3), Order(lengths(50), 8, seed=3)
    steps = list(range(30))
    expected = [first.rows(step) for step in steps]
    assert [second.rows(step) for step in reversed(steps)] == expected[::-1]
    other = Order(lengths(50), 8, seed=4)
    assert [other.rows(step) for step in steps] != expected


def test_epochs_differ_even_where_the_data_is_small() -> None:
    """Four batches of few-shot data are not the same four batches in every epoch."""
    order = Order(lengths(64), 16, seed=0)
    seen = {frozenset(order.rows(step)) for step in range(40)}
    assert len(seen) > 20


def test_batches_of_like_length_are_padded_less() -> None:
    """Less than three quarters of the padded tokens of a random order are computed."""
    sizes = lengths(512)
    order = Order(sizes, 16, seed=0)
    bucketed = sum(16 * max(sizes[i] for i in order.rows(step)) for step in range(order.per_epoch))
    shuffled = list(range(512))
    random.Random(0).shuffle(shuffled)
    plain = sum(16 * max(sizes[i] for i in shuffled[s : s + 16]) for s in range(0, 512, 16))
    assert bucketed < 0.75 * plain


def test_rates_warm_up_and_decay() -> None:
    """Linear warm-up reaches the rate at its last step; schedules end near zero or stay."""
    recipe = Recipe(steps=100, warmup=0.1, schedule="linear")
    assert rate_share(recipe, 0) == pytest.approx(0.1)
    assert rate_share(recipe, 9) == pytest.approx(1.0)
    assert rate_share(recipe, 99) == pytest.approx(1 / 90)
    assert rate_share(Recipe(steps=100, warmup=0.0, schedule="constant"), 0) == 1.0
    cosine = Recipe(steps=100, warmup=0.0, schedule="cosine")
    assert rate_share(cosine, 50) == pytest.approx(0.5)


def test_prompt_and_weights_have_their_own_rates() -> None:
    """Both follow the schedule, each from its own base, however often rates are set."""
    recipe = Recipe(steps=10, warmup=0.0, schedule="linear", lr=1.0, backbone_lr=0.1)
    prompt, weight = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = optimizer_for(recipe, {"": [prompt]}, [weight])
    for step in (3, 5, 5):
        set_rates(optimizer, recipe, step)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


def test_adafactor_is_the_one_of_the_paper() -> None:
    """Equal to Hugging Face's with scaling and relative steps off, factored and not."""
    reference = pytest.importorskip("transformers.optimization").Adafactor
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(shape, generator=generator) for shape in ((130, 150), (7,))]
    ours = [torch.nn.Parameter(t.clone()) for t in starts]
    theirs = [torch.nn.Parameter(t.clone()) for t in starts]
    first = Adafactor(ours, lr=0.3, weight_decay=1e-3)
    second = reference(
        theirs,
        lr=0.3,
        weight_decay=1e-3,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator) * 3
            other.grad = mine.grad.clone()
        first.step()
        second.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_adafactor_does_not_look_at_the_size_of_a_prompt() -> None:
    """The same gradients move a prompt and one a hundred times larger by the same."""
    small, large = (torch.nn.Parameter(torch.full((3, 4), size)) for size in (0.01, 1.0))
    gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for parameter in (small, large):
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        Adafactor([parameter], lr=0.3).step()
        moved = (parameter.detach() - before).square().mean().sqrt()
        assert moved == pytest.approx(0.3, rel=1e-4)


def rows_of(name: str, **options: object) -> tuple[Objective, torch.nn.Module]:
    plan, module = module_of(name, tiny_t5(), "summarize", **options)  # type: ignore[arg-type]
    texts = ("returns it", "zero", "the sum of the values")
    examples = [Example(f, t) for f, t in zip(FIELDS, texts, strict=True)]
    return Objective(plan, Rows.of(plan, examples)), module


def test_a_batch_in_parts_has_the_gradient_of_the_whole() -> None:
    """Accumulation weighs every token alike, so it changes memory and nothing else."""
    found = []
    for parts in ([[0, 1, 2]], [[0], [1, 2]]):
        loss, module = rows_of("soft")
        total = loss.weight([0, 1, 2])
        for rows in parts:
            loss(module(), rows, total).backward()  # type: ignore[no-untyped-call]
        found.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    for whole, cut in zip(*found, strict=True):
        torch.testing.assert_close(whole, cut, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "remembered"),
    [
        ("ptuning-v2", {"sites": ["decoder"], "dropout": 0.0}, True),
        ("prefix", {"sites": ["decoder", "cross"], "dropout": 0.0}, True),
        ("prefix", {"dropout": 0.0}, False),
        ("soft", {}, False),
        ("full", {}, False),
    ],
)
def test_the_encoder_runs_once_a_row_where_no_prompt_reaches_it(
    name: str, options: dict[str, object], remembered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradients are the same as with the encoder run each time."""
    losses, gradients = [], []
    for bytes_kept in (states.CACHE_BYTES, 0):
        monkeypatch.setattr(states, "CACHE_BYTES", bytes_kept)
        loss, module = rows_of(name, **options)
        calls = []
        encode = loss.plan.backbone.encode
        monkeypatch.setattr(
            loss.plan.backbone, "encode", lambda *a, e=encode, c=calls: c.append(1) or e(*a)
        )
        for rows in ([0, 1], [1, 2], [2, 0, 1]):
            value = loss(module(), rows, loss.weight(rows))
            value.backward()  # type: ignore[no-untyped-call]
        losses.append(value.item())
        gradients.append([p.grad for p in module.trained() if p.grad is not None])  # type: ignore[operator, union-attr]
        assert len(calls) == 3  # three batches; or three rows, each once
        kept = len(loss.states._kept)
        assert kept == (3 if remembered and bytes_kept else 0)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_threshold_is_the_best_on_dev() -> None:
    """It parts the classes where a score parts them; ties go to fewer warnings."""
    scores = [0.9, 0.8, 0.7, 0.4, 0.3]
    truth = ["bad", "bad", "good", "good", "good"]
    items = [
        Item(prediction=t, references=(t,), score=s) for s, t in zip(scores, truth, strict=True)
    ]
    assert threshold(items, "bad") == 0.8


def test_memory_is_measured_in_megabytes() -> None:
    """A process with torch in it takes more than 50 MB and less than 1 TB."""
    assert 50 < peak_memory_mb() < 1e6


def test_a_recipe_refuses_what_makes_no_sense() -> None:
    """Zero steps and a negative rate are told."""
    with pytest.raises(UsageError, match="steps is 0"):
        Recipe(steps=0)
    with pytest.raises(UsageError, match=r"lr is -1\.0"):
        Recipe().with_changes(lr=-1)


def test_the_peak_memory_of_a_process_is_its_own() -> None:
    """Not that of the larger process that started it, as `ru_maxrss` says on Linux."""
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"\x01" * len(ballast[::4096])
    code = "import codeprompt.training.measure as m; "
    code += "print(m.peak_memory_mb(), m.psutil.Process().memory_info().rss / 1e6)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, now = map(float, found.stdout.split())
    assert now <= peak + 1 and peak < now + 100
