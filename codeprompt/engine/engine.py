"""Many packs on one backbone in memory; one batch mixes tasks, methods and prompt lengths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.load import load_backbone
from codeprompt.backbones.variant import with_weights
from codeprompt.engine.batches import ROWS, plan_batches
from codeprompt.engine.precision import Precision, choose, serving
from codeprompt.engine.request import Request
from codeprompt.engine.waiting import Waiting
from codeprompt.errors import EngineError, UnknownNameError
from codeprompt.pack import Pack, check_backbone, load
from codeprompt.plan import Plan
from codeprompt.registry import TASKS
from codeprompt.types import Prediction

WAITING = 256
"""Requests that may wait; past this the engine says when to come back."""
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Loaded:
    """A pack ready to answer, and the model that answers for it: the shared one, or its own."""

    pack: Pack
    prompt: Prompt
    model: Any


@dataclass(frozen=True)
class Question:
    """A request bound to its pack: what happens to the name later changes nothing for it."""

    request: Request
    loaded: Loaded
    should_stop: ShouldStop | None = None


class Engine:
    """Answers for every loaded pack on one frozen backbone; any thread may call any method.

    Parameters
    ----------
    backbone: `builtin`, a folder or a hub id; or one already loaded.
    precision: `auto`, `float32`, `bf16` or `int8` (see `codeprompt.engine.precision`).
    threads: torch's threads; None leaves them.
    waiting: requests that may wait in `submit`'s queue.
    """

    def __init__(
        self,
        backbone: str | Backbone = "builtin",
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        allow_hub: bool = True,
        waiting: int = WAITING,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        if isinstance(backbone, str):
            backbone = load_backbone(backbone, allow_hub=allow_hub)
        self.backbone = backbone
        self.precision = choose(precision, backbone)
        self.model = serving(backbone, self.precision)
        self.packs: dict[str, Loaded] = {}
        self._busy = threading.Lock()
        self._closed = False
        self._waiting: Waiting[Question, Prediction] = Waiting(
            self._answer_all, size=waiting, rows=ROWS
        )

    def load(self, pack: Pack | str | Path, name: str | None = None) -> str:
        """Make a pack ready; returns the name that requests give. An older one of it is replaced.

        Raises `PackError` where the pack is broken or made for another backbone.
        """
        if not isinstance(pack, Pack):
            pack = load(pack)
        check_backbone(pack, self.backbone)
        name = name or pack.card.name
        backbone, model = self.backbone, self.model
        if pack.injection.weights:
            backbone = with_weights(self.backbone, pack.injection.weights)
            model = serving(backbone, self.precision)
        self.packs[name] = Loaded(pack, prompt_of(pack, backbone), model)
        return name

    def unload(self, name: str) -> None:
        """Forget a pack; requests that wait for it are still answered."""
        self._loaded(name)
        del self.packs[name]

    def predict(
        self, requests: Sequence[Request], *, should_stop: ShouldStop | None = None
    ) -> list[Prediction]:
        """One prediction for each request, in their order.

        should_stop: asked at every step; once true, `EngineError` is raised.
        """
        out = dict(self.stream(requests, should_stop=should_stop))
        if len(out) < len(requests):
            raise EngineError("The request was stopped before it was answered")
        return [out[i] for i in range(len(requests))]

    def stream(
        self,
        requests: Sequence[Request],
        *,
        rows: int = ROWS,
        should_stop: ShouldStop | None = None,
    ) -> Iterator[tuple[int, Prediction]]:
        """(index, prediction) as batches finish; rows of like length share a batch.

        should_stop: asked at every step; once true, the iterator ends.
        """
        self._check_open()
        questions = [Question(r, self._loaded(r.pack), should_stop) for r in requests]
        return self._batches(questions, rows)

    def submit(
        self, request: Request, *, should_stop: ShouldStop | None = None
    ) -> Future[Prediction]:
        """Queue one request; requests that wait together share a batch.

        should_stop: as in `predict`; a batch stops once all in it want to.
        Raises `QueueFullError` where too many wait, `EngineError` after `close`.
        """
        return self._waiting.put(Question(request, self._loaded(request.pack), should_stop))

    def close(self) -> None:
        """Answer what waits, then take nothing more."""
        self._waiting.close()
        self._closed = True

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine is closed", do="Make a new one")

    def _loaded(self, name: str) -> Loaded:
        found = self.packs.get(name)
        if found is None:
            raise UnknownNameError("pack in this engine", name, self.packs)
        return found

    def _answer_all(self, questions: list[Question]) -> list[Prediction]:
        """What the queue's thread asks for; questions that were stopped fail by themselves."""
        out = dict(self._batches(questions, ROWS))
        if len(out) < len(questions):
            raise EngineError("The request was stopped before it was answered")
        return [out[i] for i in range(len(questions))]

    def _batches(
        self, questions: Sequence[Question], rows: int
    ) -> Iterator[tuple[int, Prediction]]:
        """Questions of one model in batches; a batch that was stopped gives nothing."""
        by_model: dict[int, list[int]] = {}
        for i, question in enumerate(questions):
            by_model.setdefault(id(question.loaded.model), []).append(i)
        for mine in by_model.values():
            lengths = [sum(map(len, questions[i].request.fields.values())) for i in mine]
            for batch in plan_batches(lengths, rows=rows):
                chosen = [mine[j] for j in batch]
                asked = [questions[i] for i in chosen]
                stop = Stop(asked)
                if stop():
                    continue
                with self._busy:
                    found = _answer(asked, stop)
                if not stop.seen:
                    yield from zip(chosen, found, strict=True)


class Stop:
    """Whether all of a batch's questions want to stop; remembers that it said so."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.asks = [q.should_stop for q in questions]
        self.seen = False

    def __call__(self) -> bool:
        self.seen = self.seen or all(ask is not None and ask() for ask in self.asks)
        return self.seen


def _answer(questions: Sequence[Question], stop: Stop) -> list[Prediction]:
    """One batch; all questions go to one model, and each prompt stands in it once."""
    places: dict[tuple[int, Decoding], int] = {}
    prompts: list[Prompt] = []
    rows = []
    for question in questions:
        prompt = question.loaded.prompt
        decoding = question.request.decoding or prompt.decoding
        key = (id(question.loaded), decoding)
        if key not in places:
            places[key] = len(prompts)
            prompts.append(replace(prompt, decoding=decoding))
        rows.append(Row(places[key], question.request.fields))
    return answer(questions[0].loaded.model, prompts, rows, should_stop=stop)


def prompt_of(pack: Pack, backbone: Backbone) -> Prompt:
    """A pack as it answers on a backbone. Raises `PackError`, `TemplateError` on a bad card."""
    card = pack.card
    plan = Plan(
        backbone,
        pack.template,
        TASKS.get(card.task).kind,
        card.source_length,
        card.target_length,
        tuple(card.labels),
        card.positive,
        pack.verbalizer if card.head == "verbalizer" else None,
        None if card.prior is None else tuple(card.prior),
    )
    injection = backbone.lower(replace(pack.injection, weights={}))
    return Prompt(plan, injection, Decoding.from_json(card.decoding))
