"""A question on its way: computed once, for everyone who waits for that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import width
from codeprompt.engine.request import Priority
from codeprompt.errors import DeadlineError, StoppedError
from codeprompt.inject import members
from codeprompt.types import Prediction, Rendered

if TYPE_CHECKING:
    from codeprompt.engine.loaded import Loaded

Outcome = Prediction | Exception


@dataclass(eq=False)
class Waiter:
    """One who asked. deadline: a moment of the monotonic clock. told: text that was streamed."""

    priority: Priority = Priority.EXPLICIT
    client: str = ""
    deadline: float | None = None
    should_stop: Callable[[], bool] | None = None
    on_token: Callable[[str], None] | None = None
    future: Future[Prediction] = field(default_factory=Future)
    told: str = ""

    def settle(self, outcome: Outcome) -> None:
        """Give the answer or the error, unless the future was cancelled."""
        if isinstance(outcome, Prediction):
            error = self.tell(outcome.text)
            outcome = outcome if error is None else error
        if not self.future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, Prediction):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def tell(self, text: str) -> Exception | None:
        """Stream what is new in the text so far; what `on_token` raised, if it did."""
        if self.on_token is None or not text.startswith(self.told) or text == self.told:
            return None
        new, self.told = text[len(self.told) :], text
        try:
            self.on_token(new)
        except Exception as error:
            return error
        return None

    def lost(self, now: float, least: float) -> Exception | None:
        """Why there is no use in going on, if there is none; least: seconds it will still take."""
        if self.future.cancelled() or (self.should_stop is not None and self.should_stop()):
            return StoppedError()
        if self.deadline is not None and now + least > self.deadline:
            return DeadlineError()
        return None


@dataclass(frozen=True)
class Prepared:
    """A question rendered, bound to its pack. key: of all that decides the answer."""

    key: str
    loaded: Loaded
    decoding: Decoding
    rendered: Sequence[Rendered]
    fields: Mapping[str, str]

    def job(self) -> Job:
        """The same as it is computed."""
        return Job(self.key, self.loaded, self.decoding, self.rendered, self.fields)


@dataclass(eq=False)
class Job:
    """What is computed. key: of all that decides the answer; began: when it was admitted."""

    key: str
    loaded: Loaded
    decoding: Decoding
    rendered: Sequence[Rendered]
    fields: Mapping[str, str]
    waiters: list[Waiter] = field(default_factory=list)
    began: float | None = None

    @property
    def priority(self) -> Priority:
        """Of the most urgent who waits."""
        return min((waiter.priority for waiter in self.waiters), default=Priority.TRAINING)

    @property
    def beams(self) -> int:
        """How many beams it takes in the air; 0 where it is answered without a step."""
        count = len(members(self.loaded.prompt.injection))
        return count * width(self.decoding) if self.loaded.prompt.plan.kind == "generate" else 0

    @property
    def length(self) -> int:
        """Source tokens."""
        return len(self.rendered[0].ids)

    @property
    def streams(self) -> bool:
        """Whether anybody wants the text as it comes."""
        return any(waiter.on_token is not None for waiter in self.waiters)
