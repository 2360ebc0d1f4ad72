"""One request through cache and engine: admitted, then parsed and rendered, then asked.

A place in the engine's queue comes first: what is refused is refused before anybody reads its text.
The functions of a long file are asked a window at a time. Whoever gives up (the task is cancelled)
takes all it has asked for with it: what waits is dropped at once, what computes stops at the next
step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from codeprompt.check.questions import WINDOW, Question
from codeprompt.errors import StoppedError
from codeprompt.registry import TASKS
from codeprompt.service.ask import Ask, Event, Item, Token, check_fields, questions_of
from codeprompt.service.cache import Cache
from codeprompt.service.engines import Bound
from codeprompt.service.preparing import Preparing
from codeprompt.service.window import Window
from codeprompt.types import Kind, Prediction

if TYPE_CHECKING:
    from codeprompt.engine import Priority
    from codeprompt.engine.job import Prepared
    from codeprompt.engine.queue import Place

Tell = Callable[[Event], None]
Running = tuple[int, str, Future[Prediction]]


@dataclass(eq=False)
class Answering:
    """The questions of one request to a bound pack.

    tell: called on the loop with tokens (where it is streamed) and with items, as they come.
    deadline: a moment of `time.monotonic()`.
    """

    bound: Bound
    ask: Ask
    cache: Cache
    preparing: Preparing
    window: Window
    client: str = ""
    deadline: float | None = None
    tell: Tell | None = None
    streamed: bool = False
    stopped: bool = False
    questions: Sequence[Question] = ()
    place: Place | None = None
    items: dict[int, Item] = field(default_factory=dict)
    running: dict[asyncio.Future[Prediction], Running] = field(default_factory=dict)

    @property
    def priority(self) -> Priority:
        """As the engine has it."""
        from codeprompt.engine import Priority

        return Priority[self.ask.priority.upper()]

    async def run(self) -> list[Item]:
        """All answers in order. Raises the first error that one of them meets."""
        try:
            await self._hold()
            size = len(self.ask.code)
            self.questions, block = await self.preparing(self.priority, size, self._begun)
            await self._ask_all(block, 0)
            for start in range(WINDOW, len(self.questions), WINDOW):
                some = self.questions[start : start + WINDOW]
                size = sum(q.function.end_byte - q.function.start_byte for q in some)
                work = partial(self._prepared, some)
                await self._ask_all(await self.preparing(self.priority, size, work), start)
            while self.running:
                await self._settle()
        finally:
            self._give_up()
        return [self.items[number] for number in range(len(self.questions))]

    def _begun(self) -> tuple[list[Question], list[Prepared]]:
        """The questions, and the first of them as the engine takes them."""
        found, pack = questions_of(self.ask), self.bound.pack
        check_fields(list(pack.template.fields), found, self.ask.extra)
        return found, self._prepared(found[:WINDOW])

    def _prepared(self, block: Sequence[Question]) -> list[Prepared]:
        """Each question rendered, with its key."""
        from codeprompt.engine import Request

        bound, form = self.bound, self.bound.pack.card.data.form
        requests = [Request(bound.label, q.fields(self.ask.extra, form)) for q in block]
        return [bound.engine.prepare(request) for request in requests]

    async def _ask_all(self, block: Sequence[Prepared], start: int) -> None:
        for number, prepared in enumerate(block, start):
            known = self.cache.get(prepared.key)
            if known is not None:
                self._answered(number, known, cached=True)
                continue
            await self._hold()
            self._collect()
            self._submit(number, prepared)

    async def _hold(self) -> None:
        """See to it that we have a place."""
        if self.place is None:
            self.place = await self.window.hold(
                lambda: self.bound.engine.hold(
                    priority=self.priority, client=self.client, deadline=self.deadline
                )
            )

    def _submit(self, number: int, prepared: Prepared) -> None:
        future = self.bound.engine.submit(
            prepared,
            priority=self.priority,
            client=self.client,
            deadline=self.deadline,
            should_stop=lambda: self.stopped,
            on_token=self._tokens(number) if self.streamed else None,
            place=self.place,
        )
        self._leave()  # an equal question may wait there already, and need no place
        mine = asyncio.wrap_future(future)
        mine.add_done_callback(lambda _: self.window.free())
        self.running[mine] = (number, prepared.key, future)

    def _leave(self) -> None:
        if self.place is not None:
            self.bound.engine.let_go(self.place)
            self.place = None

    def _tokens(self, number: int) -> Callable[[str], None]:
        """What the engine's thread calls with new text."""
        loop = asyncio.get_running_loop()

        def on_token(text: str) -> None:
            if text and not self.stopped:
                loop.call_soon_threadsafe(self._token, Token(number, text))

        return on_token

    def _token(self, token: Token) -> None:
        if self.tell is not None and not self.stopped and token.index not in self.items:
            self.tell(token)

    async def _settle(self) -> None:
        await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
        self._collect()

    def _collect(self) -> None:
        """Take what is answered. Raises what went wrong with it."""
        for mine in [future for future in self.running if future.done()]:
            number, key, _ = self.running.pop(mine)
            if mine.cancelled():
                raise StoppedError()
            prediction = mine.result()
            self.cache.put(key, prediction)
            self._answered(number, prediction, cached=False)

    def _answered(self, number: int, prediction: Prediction, *, cached: bool) -> None:
        entry = self.bound.entry
        kind: Kind = TASKS.get(self.bound.pack.card.task).kind
        item = Item(
            number, self.questions[number], prediction, kind, entry.name, entry.version, cached,
            self.ask.file is not None,
        )  # fmt: skip
        self.items[number] = item
        if self.tell is not None:
            self.tell(item)

    def _give_up(self) -> None:
        """What still waits or computes is stopped; nothing where all is answered."""
        self.stopped = True
        if self.place is not None:
            self._leave()
            self.window.free()
        for mine, (_, _, future) in self.running.items():
            mine.add_done_callback(_heard)
            self.bound.engine.cancel(future)
            mine.cancel()
        self.running.clear()


def _heard(future: asyncio.Future[Any]) -> None:
    """An error that comes after everybody left is nobody's."""
    if not future.cancelled():
        future.exception()
