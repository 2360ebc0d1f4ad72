"""One request through cache and engine: its functions are asked a window at a time.

A window keeps a long file from filling the queue that others wait in. Whoever gives up (the task is
cancelled) takes all it has asked for with it: what waits is dropped at once, what computes stops at
the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from codeprompt.check.questions import WINDOW, Question
from codeprompt.errors import QueueFullError, StoppedError
from codeprompt.registry import TASKS
from codeprompt.service.ask import Ask, Event, Item, Token, check_fields
from codeprompt.service.cache import Cache
from codeprompt.service.engines import Bound
from codeprompt.types import Kind, Prediction

if TYPE_CHECKING:
    from codeprompt.engine import Request

Tell = Callable[[Event], None]
Result = TypeVar("Result")


SHORT = 8192
"""Characters of code that are parsed and rendered on the loop: handing them to a thread and back
would take longer, all the more while the engine computes."""


async def for_code(size: int, work: Callable[[], Result]) -> Result:
    """The result of some work on code of a size: at once, or by a thread where it takes time."""
    return work() if size <= SHORT else await asyncio.to_thread(work)


class Window:
    """How much may be asked for at once; the requests of one batch share one."""

    def __init__(self, size: int = WINDOW) -> None:
        self.size = size
        self.open: set[asyncio.Future[Prediction]] = set()

    async def room(self) -> None:
        """Wait until one more may be asked for."""
        while len(self.open) >= self.size:
            await self.one()

    async def one(self) -> None:
        """Wait until one of those asked for is answered."""
        await asyncio.wait(self.open, return_when=asyncio.FIRST_COMPLETED)
        self.open = {future for future in self.open if not future.done()}


@dataclass(eq=False)
class Answering:
    """The questions of one request to a bound pack.

    tell: called on the loop with tokens (where it is streamed) and with items, as they come.
    deadline: a moment of `time.monotonic()`.
    """

    bound: Bound
    ask: Ask
    questions: Sequence[Question]
    cache: Cache
    window: Window
    client: str = ""
    deadline: float | None = None
    tell: Tell | None = None
    streamed: bool = False
    stopped: bool = False
    items: dict[int, Item] = field(default_factory=dict)
    running: dict[asyncio.Future[Prediction], tuple[int, str, Future[Prediction]]] = field(
        default_factory=dict
    )

    async def run(self) -> list[Item]:
        """All answers in order. Raises the first error that one of them meets."""
        card = self.bound.pack.card
        check_fields(list(self.bound.pack.template.fields), list(self.questions), self.ask.extra)
        try:
            for start in range(0, len(self.questions), WINDOW):
                block = self.questions[start : start + WINDOW]
                size = sum(q.function.end_byte - q.function.start_byte for q in block)
                asked = await for_code(size, partial(self._prepared, block, card.data.form))
                for number, (request, key) in enumerate(asked, start):
                    await self._ask(number, request, key)
            while self.running:
                await self._settle()
        finally:
            self._give_up()
        return [self.items[number] for number in range(len(self.questions))]

    def _prepared(self, block: Sequence[Question], form: str) -> list[tuple[Request, str]]:
        """Each question as a request, rendered, with its key."""
        from codeprompt.engine import Request

        requests = [
            Request(self.bound.label, question.fields(self.ask.extra, form)) for question in block
        ]
        return [(request, self.bound.engine.render_key(request)) for request in requests]

    async def _ask(self, number: int, request: Request, key: str) -> None:
        known = self.cache.get(key)
        if known is not None:
            self._answered(number, known, cached=True)
            return
        await self.window.room()
        self._collect()
        future = await self._submitted(number, request)
        mine = asyncio.wrap_future(future)
        self.running[mine] = (number, key, future)
        self.window.open.add(mine)

    async def _submitted(self, number: int, request: Request) -> Future[Prediction]:
        """In the queue. Where it is full, wait for our own; with none of them there, raise."""
        from codeprompt.engine import Priority

        while True:
            try:
                return self.bound.engine.submit(
                    request,
                    priority=Priority[self.ask.priority.upper()],
                    client=self.client,
                    deadline=self.deadline,
                    should_stop=lambda: self.stopped,
                    on_token=self._tokens(number) if self.streamed else None,
                )
            except QueueFullError:
                if not self.window.open:
                    raise
                await self.window.one()
                self._collect()

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
            self.window.open.discard(mine)
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
        for mine, (_, _, future) in self.running.items():
            self.window.open.discard(mine)
            mine.add_done_callback(_heard)
            self.bound.engine.cancel(future)
            mine.cancel()
        self.running.clear()


def _heard(future: asyncio.Future[Any]) -> None:
    """An error that comes after everybody left is nobody's."""
    if not future.cancelled():
        future.exception()
