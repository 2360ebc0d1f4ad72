"""Answers of the engine for functions: kept by what was asked, shared by all who wait for one.

A key is (task, function's text, name, file and imports, language, pack and version, backbone,
target). One computation serves everybody who asks meanwhile, and is stopped when the last of them
has left.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeprompt.errors import CodepromptError
from codeprompt.languages.functions import Function
from lsp_server.packs import Chosen

if TYPE_CHECKING:
    from codeprompt.client import AsyncClient, Item
    from codeprompt.client.messages import Priority, TaskName

MOST = 4096
CLEAN = ("clean", "false", "0")
ROUTES: dict[str, TaskName] = {
    "summarize": "summarize",
    "translate": "translate",
    "defect": "defects",
    "localize": "localize",
}


@dataclass(frozen=True)
class Answer:
    """text: written or chosen. confidence: 0-1; of a defect pack the probability of a defect."""

    text: str
    confidence: float
    pack: str
    lines: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True)
class Query:
    """What is asked about one function. file: its path within the project, as packs were tuned.

    imports: of its file, where the pack's template asks for them.
    """

    task: str
    function: Function
    pack: Chosen
    target: str = ""
    file: str = ""
    imports: str = ""

    @property
    def key(self) -> str:
        """Equal where the answer is."""
        digest = hashlib.sha256(self.function.bare.encode("utf-8", "surrogatepass"))
        pack = self.pack
        parts = (self.task, self.function.language.name, pack.label, pack.backbone, self.target,
                 self.function.qualified_name, self.file, self.imports)  # fmt: skip
        digest.update("\0".join(parts).encode())
        return digest.hexdigest()


@dataclass
class _Flight:
    task: asyncio.Task[Answer | None]
    waiting: int = 0


class Answers:
    """The answers so far, and the computations under way.

    ready: gives the connection, or raises `CodepromptError`. on_lost: told that it is gone.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[AsyncClient]],
        on_lost: Callable[[CodepromptError], None] = lambda error: None,
    ) -> None:
        self._ready, self._on_lost = ready, on_lost
        self._known: OrderedDict[str, Answer | None] = OrderedDict()
        self._flights: dict[str, _Flight] = {}

    def known(self, query: Query) -> Answer | None:
        """The answer, if it is there already."""
        found = self._known.get(query.key)
        if found is not None:
            self._known.move_to_end(query.key)
        return found

    def is_known(self, query: Query) -> bool:
        """Whether it was answered, be it with nothing."""
        return query.key in self._known

    async def get(self, query: Query, priority: Priority = "explicit") -> Answer | None:
        """The answer, computed if need be. Raises `CodepromptError`."""
        key = query.key
        if key in self._known:
            return self.known(query)
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.ensure_future(self._ask(query, key, priority))
            flight = self._flights[key] = _Flight(task)
            task.add_done_callback(lambda done: self._landed(key, done))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()

    def forget(self) -> None:
        """Forget all answers."""
        self._known.clear()

    async def close(self) -> None:
        """Stop all computations."""
        for flight in list(self._flights.values()):
            flight.task.cancel()

    def _landed(self, key: str, task: asyncio.Task[Any]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()

    async def _ask(self, query: Query, key: str, priority: Priority) -> Answer | None:
        from codeprompt.client import UnreachableError

        client = await self._ready()
        given = {"target_language": query.target, "imports": query.imports}
        options: dict[str, Any] = {name: value for name, value in given.items() if value}
        try:
            items = await client.answer(
                ROUTES[query.task],
                query.function.bare,
                query.function.language.name,
                whole=True,
                function=query.function.qualified_name or None,
                file=query.file or None,
                pack=query.pack.label,
                priority=priority,
                **options,
            )
        except UnreachableError as error:
            self._on_lost(error)
            raise
        answer = as_answer(items, query.pack)
        self._known[key] = answer
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return answer


def as_answer(items: list[Item], pack: Chosen) -> Answer | None:
    """One answer out of the engine's items; None where it had nothing to say."""
    if not items:
        return None
    first = items[0]
    score = first.score if first.score is not None else -math.inf
    if first.label is not None:
        return Answer(first.label, max(0.0, min(1.0, score)), pack.shown, _lines(items))
    text = " ".join((first.text or "").split()) if "\n" not in (first.text or "") else first.text
    if not (text or "").strip():
        return None
    return Answer((text or "").strip(), math.exp(min(0.0, score)), pack.shown)


def _lines(items: list[Item]) -> tuple[tuple[int, int, float], ...]:
    """Lines that a localizing pack tells: first and last (1-based), probability."""
    return tuple(
        (item.start_line, item.end_line, item.score or 0.0)
        for item in items
        if item.start_line > 0 and item.label not in CLEAN
    )
