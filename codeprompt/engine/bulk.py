"""Many requests at once, batch by batch: nobody waits for a single one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from codeprompt.answer import Prompt, Row, answer
from codeprompt.backbones.decoding import Decoding
from codeprompt.engine.batches import plan_batches
from codeprompt.engine.loaded import Loaded
from codeprompt.engine.request import Request
from codeprompt.types import Prediction


@dataclass(frozen=True)
class Question:
    """A request bound to its pack: what happens to the name later changes nothing for it."""

    request: Request
    loaded: Loaded


def in_batches(
    questions: Sequence[Question],
    rows: int,
    busy: threading.Lock,
    should_stop: Callable[[], bool] | None,
) -> Iterator[tuple[int, Prediction]]:
    """(index, prediction) as batches of one model finish; a batch that was stopped gives nothing.

    busy: held while a batch is computed.
    """
    stop = Stop(should_stop)
    by_model: dict[int, list[int]] = {}
    for i, question in enumerate(questions):
        by_model.setdefault(id(question.loaded.model), []).append(i)
    for mine in by_model.values():
        lengths = [sum(map(len, questions[i].request.fields.values())) for i in mine]
        for batch in plan_batches(lengths, rows=rows):
            chosen = [mine[j] for j in batch]
            if stop():
                return
            with busy:
                found = _answer([questions[i] for i in chosen], stop)
            if stop.seen:
                return
            yield from zip(chosen, found, strict=True)


class Stop:
    """Whether to stop; remembers that it said so."""

    def __init__(self, asks: Callable[[], bool] | None) -> None:
        self.asks, self.seen = asks, False

    def __call__(self) -> bool:
        self.seen = self.seen or (self.asks is not None and self.asks())
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
