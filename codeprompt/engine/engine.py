"""Many packs on one backbone in memory; one batch mixes tasks, methods and prompt lengths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch

from codeprompt.backbones.base import Backbone
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.load import load_backbone
from codeprompt.backbones.threads import computing_on
from codeprompt.backbones.variant import with_weights
from codeprompt.engine.bulk import Question, in_batches
from codeprompt.engine.flight import ROWS
from codeprompt.engine.job import Prepared, Waiter
from codeprompt.engine.loaded import Loaded, prompt_of
from codeprompt.engine.precision import Format, Precision, choose, serving
from codeprompt.engine.queue import Place
from codeprompt.engine.request import Priority, Request
from codeprompt.engine.scheduler import Scheduler
from codeprompt.engine.trim import one_heap, trim
from codeprompt.errors import CodepromptError, EngineError, StoppedError, UnknownNameError
from codeprompt.pack import Pack, check_backbone, load
from codeprompt.types import Prediction, Rendered

WAITING = 256
"""Requests that may wait; past this the engine says when to come back."""
PIECE = 2047
"""Bytes that hashlib takes without giving up the interpreter, which a busy engine has then."""
ShouldStop = Callable[[], bool]


class Engine:
    """Answers for every loaded pack on one frozen backbone; any thread may call any method.

    Parameters
    ----------
    backbone: `builtin`, a folder or a hub id; or one already loaded, which stays as it is.
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
        one_heap()
        if threads is not None:
            torch.set_num_threads(threads)
        self._name, self._allow_hub = "", allow_hub
        with computing_on(1):  # whoever makes an engine is seldom its own thread
            if isinstance(backbone, str):
                self._name, backbone = backbone, load_backbone(backbone, allow_hub=allow_hub)
            self.backbone = backbone
            chosen = choose(precision, backbone.device)
            self.model = serving(backbone, chosen, free=bool(self._name))
        trim()
        self.packs: dict[str, Loaded] = {}
        self.scheduler = Scheduler(waiting, threads=torch.get_num_threads())
        self._closed = False

    @property
    def precision(self) -> Format:
        """What answers are computed in."""
        found: Format = self.model.precision
        return found

    def load(self, pack: Pack | str | Path, name: str | None = None) -> str:
        """Make a pack ready; returns the name that requests give. An older one of it is replaced.

        Requests that were asked of the older one keep it. Raises `PackError` where the pack is
        broken or made for another backbone.
        """
        with computing_on(1):
            return self._load(load(pack) if not isinstance(pack, Pack) else pack, name)

    def _load(self, pack: Pack, name: str | None) -> str:
        name, own = name or pack.card.name, pack.injection.weights
        if own or (pack.injection.layers and self.precision != "float32"):
            whole = self._whole()
            check_backbone(pack, whole)
            backbone = with_weights(whole, own) if own else whole
            prompt = prompt_of(pack, backbone)
            model = serving(backbone, self.precision, free=True) if own else self.model
            pack = replace(pack, injection=replace(pack.injection, weights={}))
        else:
            check_backbone(pack, self.backbone)
            model = self.model
            prompt = prompt_of(pack, model)
        # The plan's backbone is asked for its tokenizer and sizes alone; the whole one goes.
        prompt = replace(prompt, plan=replace(prompt.plan, backbone=model))
        self.packs[name] = Loaded(pack, prompt, model)
        return name

    def unload(self, name: str) -> None:
        """Forget a pack; requests that wait for it are still answered."""
        self._loaded(name)
        del self.packs[name]

    def predict(
        self, requests: Sequence[Request], *, should_stop: ShouldStop | None = None
    ) -> list[Prediction]:
        """One prediction for each request, in their order.

        should_stop: asked at every step; once true, `StoppedError` is raised.
        """
        out = dict(self.stream(requests, should_stop=should_stop))
        if len(out) < len(requests):
            raise StoppedError()
        return [out[i] for i in range(len(requests))]

    def stream(
        self,
        requests: Sequence[Request],
        *,
        rows: int = ROWS,
        should_stop: ShouldStop | None = None,
    ) -> Iterator[tuple[int, Prediction]]:
        """(index, prediction) as batches finish; rows of like length share a batch.

        For many requests at once, of which nobody waits for a single one. should_stop: asked at
        every step; once true, the iterator ends.
        """
        if self._closed:
            raise EngineError("The engine is closed", do="Make a new one")
        questions = [Question(r, self._loaded(r.pack)) for r in requests]
        return in_batches(questions, rows, self.scheduler.busy, should_stop)

    def hold(
        self,
        *,
        priority: Priority = Priority.EXPLICIT,
        client: str = "",
        deadline: float | None = None,
    ) -> Place:
        """A place in the queue, before anything is made of the question: `submit` takes it.

        One that is not submitted must be given back (`let_go`). Raises `QueueFullError` where too
        many wait, or where the answer could not be there in time.
        """
        return self.scheduler.hold(priority, client, deadline)

    def let_go(self, place: Place) -> None:
        """Give a place back; nothing where it was used or given back before."""
        self.scheduler.let_go(place)

    def prepare(self, request: Request) -> Prepared:
        """A question as it is computed, for `submit`: the half of the work that needs no turn.

        Raises `TemplateError` where the request lacks a field.
        """
        loaded = self._loaded(request.pack)
        rendered = tuple(loaded.prompt.plan.render(request.fields))
        decoding = request.decoding or loaded.prompt.decoding
        key = self._key(loaded, decoding, rendered, request.fields)
        return Prepared(key, loaded, decoding, rendered, request.fields)

    def submit(
        self,
        request: Request | Prepared,
        *,
        priority: Priority = Priority.EXPLICIT,
        client: str = "",
        deadline: float | None = None,
        should_stop: ShouldStop | None = None,
        on_token: Callable[[str], None] | None = None,
        place: Place | None = None,
    ) -> Future[Prediction]:
        """Ask one question; it shares its steps with whatever else is computed.

        client: who asks; clients of one priority take turns. deadline: a moment of
        `time.monotonic()`. should_stop: asked at every step. on_token: called by the engine's
        thread with each new part of the text (of a beam search, with all of it at the end).
        place: from `hold`.

        The future has `TemplateError` where the request lacks a field, `DeadlineError`,
        `StoppedError`, or `CancelledError` after `future.cancel()`, which always works and ends
        the computing at the next step.
        Raises `QueueFullError` where too many wait, `EngineError` after `close`.
        """
        waiter = Waiter(priority, client, deadline, should_stop, on_token)
        if isinstance(request, Request):
            self._loaded(request.pack)
            try:
                request = self.prepare(request)
            except CodepromptError as error:
                waiter.settle(error)
                return waiter.future
        return self.scheduler.submit(request.job(), waiter, place)

    def cancel(self, future: Future[Prediction]) -> bool:
        """Give up a request: its future is cancelled at once, its computing at the next step."""
        return future.cancel()

    def render_key(self, request: Request) -> str:
        """sha256 of all that decides an answer: what a cache may go by.

        The rendered input, the pack, the backbone, the precision and the decoding.
        Raises `TemplateError` where the request lacks a field.
        """
        return self.prepare(request).key

    def memory(self) -> int:
        """Bytes of the weights and the packs."""
        packs = list(self.packs.values())
        models = {id(model): model for model in (self.model, *(p.model for p in packs))}
        weights: int = sum(m.bytes for m in models.values())
        return weights + sum(p.bytes for p in packs)

    def stats(self) -> dict[str, int]:
        """waiting, computing: requests now; tokens, answered: since the start."""
        return self.scheduler.stats()

    def warm(self) -> None:
        """Answer one tiny request a pack, so that the first real one finds everything ready."""
        for name, loaded in list(self.packs.items()):
            traces = getattr(loaded.model, "traces", None)
            if traces is not None:
                traces.patience = 1
            fields = dict.fromkeys(loaded.pack.template.fields, "x")
            decoding = replace(loaded.prompt.decoding, max_new_tokens=2, min_new_tokens=2)
            if self.packs.get(name) is loaded:
                self.submit(Request(name, fields, decoding)).result()
            if traces is not None:
                traces.wait()

    def close(self) -> None:
        """Answer what waits, then take nothing more."""
        self._closed = True
        self.scheduler.close()
        for loaded in list(self.packs.values()):
            traces = getattr(loaded.model, "traces", None)
            if traces is not None:
                traces.wait()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _loaded(self, name: str) -> Loaded:
        found = self.packs.get(name)
        if found is None:
            raise UnknownNameError("pack in this engine", name, self.packs)
        return found

    def _whole(self) -> Backbone:
        """The backbone with all its weights: those that served to make a copy are gone."""
        return load_backbone(self._name, allow_hub=self._allow_hub) if self._name else self.backbone

    def _key(
        self,
        loaded: Loaded,
        decoding: Decoding,
        rendered: Sequence[Rendered],
        fields: Mapping[str, str],
    ) -> str:
        told = [[r.ids, r.slots, r.mask] for r in rendered]
        integrity, backbone = loaded.pack.card.integrity, self.backbone.hash
        facts = [told, integrity, backbone, self.precision, decoding.as_json()]
        if decoding.channel:  # it reads them apart from the template
            facts.append(dict(fields))
        text, digest = json.dumps(facts, sort_keys=True).encode(), hashlib.sha256()
        for start in range(0, len(text), PIECE):
            digest.update(text[start : start + PIECE])
        return digest.hexdigest()
