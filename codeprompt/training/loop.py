"""The training loop: one prompt (or the weights), one seed, one dev set to select on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from codeprompt.answer import Prompt
from codeprompt.backbones.generation import Decoding
from codeprompt.errors import DataError, TrainingError
from codeprompt.methods.base import PromptModule
from codeprompt.plan import Plan
from codeprompt.recipes import Recipe
from codeprompt.training import checkpoint
from codeprompt.training.evaluate import dev_score, is_better, worst
from codeprompt.training.keeping import Keeping, StopError
from codeprompt.training.lessons import learn
from codeprompt.training.objective import Objective, Rows
from codeprompt.training.optim import optimizer_for, set_rates
from codeprompt.training.order import Order
from codeprompt.types import Example


@dataclass(frozen=True)
class Event:
    """What a progress bar shows: step of steps, mean loss since the last evaluation, dev score."""

    step: int
    steps: int
    loss: float
    dev: float | None = None
    best: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """A finished run: the module holds the best tensors."""

    best_score: float
    best_step: int
    steps: int
    seconds: float
    history: list[dict[str, float]]


class Loop:
    """One run over fixed rows; `run` may be interrupted at any moment and resumed.

    Parameters
    ----------
    fingerprint: of everything that decides the numbers; a checkpoint of another run is refused.
    path: the checkpoint's file; None keeps nothing.
    decoding: how the dev set is decoded where the task generates.
    metric: the name of the metric that selects.
    keeping: when the checkpoint is written, and whether to stop.
    cast: products in bf16 over weights that stay as they are.

    With the same thread count a resumed run ends with the same weights bit for bit: rows and rates
    are functions of the step, and the checkpoint holds parameters, moments and the generator.
    """

    def __init__(
        self,
        plan: Plan,
        module: PromptModule,
        recipe: Recipe,
        train: Sequence[Example],
        dev: Sequence[Example],
        *,
        seed: int,
        metric: str,
        decoding: Decoding,
        fingerprint: str = "",
        path: Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        keeping: Keeping | None = None,
        cast: bool = False,
    ) -> None:
        if not train or not dev:
            raise DataError(
                f"There are {len(train)} rows to train on and {len(dev)} to select on",
                expected="at least one of each",
            )
        self.plan, self.module, self.recipe, self.seed = plan, module, recipe, seed
        self.backbone, self.dev, self.metric = plan.backbone, dev, metric
        self.decoding, self.path, self.on_event = decoding, path, on_event
        self.keeping, self.cast = keeping or Keeping(), cast
        self.train, self.template = train, plan.template
        self._fit()
        self.parameters = module.trained()
        self.optimizer = optimizer_for(recipe, *_groups(module, self.backbone))
        self.progress = checkpoint.Progress(
            fingerprint, best_score=worst(metric), stage_score=worst(metric)
        )
        self.best: dict[str, Tensor] = {}
        self._generator: Tensor | None = None
        self._saved, self._began, self._cost = 0.0, 0.0, 0.0

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. Raises `TrainingError` if it is another's."""
        if self.path is None or not self.path.is_file():
            return False
        self.progress, self.best, self._generator = checkpoint.load(
            self.path, self.progress.fingerprint, self.module, self.optimizer
        )
        self._fit()
        return True

    def _fit(self) -> None:
        """Render the rows in the template that is the module's now."""
        self.plan = replace(self.plan, template=self.module.fitted(self.template))
        rows = Rows.of(self.plan, self.train)
        self.objective = Objective(self.plan, rows)
        size = self.recipe.batch * self.recipe.accumulate
        self.order = Order(rows.lengths, size, self.seed)

    def run(self) -> Outcome:
        """Train to the end, an early stop, or an error; leaves the best tensors in the module.

        Raises `TrainingError`, `StopError` where `keeping` says so.
        """
        with self.drawing():
            self.start()
            while not self.progress.finished:
                self.update(self._losses_back())
        return self.end()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Inside, random numbers are the run's own; the caller's draws are not ours."""
        with torch.random.fork_rng(devices=[]):
            if self._generator is not None:
                torch.set_rng_state(self._generator)
            else:
                torch.manual_seed(self.seed)
            yield
            self._generator = torch.get_rng_state()

    def start(self) -> None:
        """To where the first step can be taken."""
        p = self.progress
        self._saved = time.monotonic()
        self._began = self._saved - p.seconds
        self._train_mode(True)
        own = self.module.lessons()
        if p.done + p.step == 0 and own is not None:
            learn(self.plan, self.module, own, self.objective.rows, self.recipe, self.seed)

    def batch(self) -> tuple[list[list[int]], int]:
        """The step's rows, in parts that pass at a time, and what their losses are averaged over.

        The loss of a step is the mean over its tokens or rows, however it is cut.
        """
        rows, size = self.order.rows(self.progress.step), self.recipe.batch
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return parts, self.objective.weight(rows)

    def update(self, loss: float) -> None:
        """Move by the gradients that are there, and do what is due after a step.

        loss: of the step. Raises `TrainingError`, `StopError`.
        """
        p, recipe = self.progress, self.recipe
        self._move(loss)
        p.loss_sum += loss
        p.loss_steps += 1
        dev, over, loss = None, False, p.loss_sum / p.loss_steps
        if p.step % recipe.evaluate_every == 0 or p.step == recipe.steps:
            dev = self._evaluate(loss)
            over = p.step == recipe.steps or p.stale >= recipe.patience
            p.finished = over and p.stage + 1 == len(self.module.stages)
        p.seconds = time.monotonic() - self._began
        if self.on_event:
            best = p.best_score if self.best else None
            steps = p.done + recipe.steps * (len(self.module.stages) - p.stage)
            self.on_event(Event(p.done + p.step, steps, loss, dev, best, p.seconds))
        if over and not p.finished:
            self._advance()
        stop = not p.finished and self.keeping.should_stop()
        self._keep(dev is not None, stop)
        if stop:
            raise StopError(p.done + p.step)

    def end(self) -> Outcome:
        """Leaves the best tensors in the module."""
        checkpoint.restore(self.module, self.best)
        self._train_mode(False)
        p = self.progress
        return Outcome(p.best_score, p.best_step, p.done + p.step, p.seconds, p.history)

    def forget(self) -> None:
        """Let the optimiser's moments go."""
        del self.optimizer

    def _advance(self) -> None:
        """To the next stage, from this one's best; a function of that and the rows alone."""
        p = self.progress
        checkpoint.restore(self.module, self.best)
        self._train_mode(False)
        self._fit()
        self.module.advance(p.stage, self._losses)
        if not self.module.stages[p.stage]:
            p.best_score, self.best = worst(self.metric), {}
        p.done, p.stage, p.step = p.done + p.step, p.stage + 1, 0
        p.stale, p.stage_score = 0, worst(self.metric)
        self.optimizer = optimizer_for(self.recipe, *_groups(self.module, self.backbone))
        self._fit()
        torch.manual_seed(self.seed + p.stage)
        self._train_mode(True)

    def _losses(self) -> Iterator[Tensor]:
        """Over all training rows, a batch at a time, in their own order."""
        count, size = len(self.train), self.recipe.batch
        for start in range(0, count, size):
            rows = list(range(start, min(start + size, count)))
            yield self.objective(self.module(), rows, self.objective.weight(rows))

    def _keep(self, evaluated: bool, last: bool) -> None:
        """Write a checkpoint where one is due; last: where no step comes after this one."""
        since = time.monotonic() - self._saved
        due = last or self.progress.finished or self.keeping.due(evaluated, since, self._cost)
        if self.path is None or not due:
            return
        began = time.monotonic()
        checkpoint.save(self.path, self.progress, self.module, self.best, self.optimizer)
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def _losses_back(self) -> float:
        """The step's loss, and its gradients in the parameters."""
        total = 0.0
        parts, weight = self.batch()
        self.optimizer.zero_grad(set_to_none=True)
        for rows in parts:
            with torch.autocast(self.backbone.device.type, torch.bfloat16, enabled=self.cast):
                loss = self.objective(self.module(), rows, weight)
            total += loss.item()
            loss.backward()  # type: ignore[no-untyped-call]
        return total

    def _move(self, total: float) -> None:
        p, recipe = self.progress, self.recipe
        norm = nn.utils.clip_grad_norm_(self.parameters, recipe.clip or math.inf)
        if not (math.isfinite(total) and bool(torch.isfinite(norm))):
            what = f"loss is {total}" if not math.isfinite(total) else f"gradient is {norm.item()}"
            raise TrainingError(
                f"The {what} at step {p.step + 1}",
                expected="a finite number",
                do=f"Lower the learning rate (it is {recipe.lr:g}): --lr {recipe.lr / 10:g}",
            )
        set_rates(self.optimizer, recipe, p.step)
        self.optimizer.step()
        p.step += 1

    def _evaluate(self, loss: float) -> float:
        """The dev score; draws nothing from the training stream."""
        p, state = self.progress, torch.get_rng_state()
        self._train_mode(False)
        with torch.no_grad():
            prompt = Prompt(self.plan, self.backbone.lower(self.module()), self.decoding)
            score = dev_score(prompt, self.dev, self.metric)
        self._train_mode(True)
        torch.set_rng_state(state)
        p.loss_sum, p.loss_steps = 0.0, 0
        first = p.step <= self.recipe.evaluate_every
        p.history.append({"step": p.done + p.step, "loss": loss, "dev": score})
        if not self.best or is_better(self.metric, score, p.best_score):
            if is_better(self.metric, score, p.best_score):
                p.best_score = score
            p.best_step = p.done + p.step
            self.best = checkpoint.snapshot(self.module)
        if first or is_better(self.metric, score, p.stage_score):
            p.stage_score, p.stale = score, 0
        else:
            p.stale += 1
        return score

    def _train_mode(self, on: bool) -> None:
        """The prompt's own dropout is on while it trains; the backbone's only if asked for."""
        self.module.train(on)
        self.backbone.train(on and self.recipe.dropout)


def _groups(
    module: PromptModule, backbone: nn.Module
) -> tuple[dict[str, list[nn.Parameter]], list[nn.Parameter]]:
    """The prompt's own parameters by name, and those of the backbone where they are tuned too."""
    inside = {id(p) for p in backbone.parameters()}
    paced = module.paced()
    return (
        {name: [p for p in own if id(p) not in inside] for name, own in paced.items()},
        [p for p in module.trained() if id(p) in inside],
    )
