"""More than the engine can bear: refused at once and unread, fair, and nobody kept for ever."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from codeprompt.engine import Engine, Priority
from codeprompt.engine.pace import Pace
from codeprompt.engine.queue import Place as Held
from codeprompt.errors import CodepromptError, DeadlineError, QueueFullError
from codeprompt.service import Ask, answering
from codeprompt.service.limits import Crowd
from codeprompt.service.preparing import LONG, Lane, Preparing
from codeprompt.service.settings import Settings
from codeprompt.service.window import Window
from tests.serviced import CODE, Place, serving, small_pack

pytestmark = pytest.mark.anyio
HOVER = Ask(CODE, language="python", priority="hover")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the module's service and its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A service on a tiny backbone."""
    async with serving(tmp_path_factory.mktemp("home"), small_pack()) as found:
        yield found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which requests' texts are parsed."""
    seen: list[str] = []
    parse = answering.questions_of

    def watched(ask: Ask) -> Any:
        seen.append(threading.current_thread().name)
        return parse(ask)

    monkeypatch.setattr(answering, "questions_of", watched)
    return seen


def engine_of(found: Place) -> Engine:
    [slot] = found.service.engines.slots.values()
    return slot.engine


class Full:
    """All places of the queue that some clients can get, until the block ends."""

    def __init__(self, found: Place, priority: Priority, *clients: str) -> None:
        self.engine, self.priority, self.clients = engine_of(found), priority, clients
        self.held: list[Held] = []

    def __enter__(self) -> Full:
        for client in self.clients:
            while True:
                try:
                    self.held.append(self.engine.hold(priority=self.priority, client=client))
                except QueueFullError:
                    break
        return self

    def __exit__(self, *_: object) -> None:
        for place in self.held:
            self.engine.let_go(place)


async def test_what_is_refused_is_not_read(place: Place, reads: list[str]) -> None:
    """A full queue says so before anybody parses; once there is room the same is answered."""
    with Full(place, Priority.HOVER, "a", "b"):
        refused = await place.ask(priority="hover")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert reads == []
    assert (await place.ask(priority="hover")).status_code == 200
    assert len(reads) == 1


async def test_a_hover_that_cannot_be_in_time_is_refused_unread(
    place: Place, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what waits and the pace that was measured; one that can wait is taken."""
    engine, pace = engine_of(place), Pace()
    monkeypatch.setattr(engine.scheduler.queue, "pace", pace)
    pace.seconds = 100.0
    held = engine.hold(priority=Priority.HOVER, client="other")
    try:
        late = await place.ask(priority="hover", deadline_ms=60_000)
        assert (late.status_code, reads) == (429, [])
        assert int(late.headers["retry-after"]) >= 60
        assert (await place.ask(priority="hover", deadline_ms=600_000)).status_code == 200
    finally:
        engine.let_go(held)


async def test_who_floods_is_refused_and_others_are_not(place: Place) -> None:
    """By the name in X-Client, where the rest of the queue is free."""
    with Full(place, Priority.EXPLICIT, "flood"):
        flood = await place.http.post(
            "/v1/summarize",
            json={"code": CODE, "language": "python"},
            headers={"x-client": "flood"},
        )
        other = await place.ask()
    assert (flood.status_code, other.status_code) == (429, 200)


async def test_a_batch_finds_room_beside_any_number_of_others(place: Place) -> None:
    """Urgent requests cannot take the places that are a batch's own."""
    with Full(place, Priority.EXPLICIT, "a", "b"), Full(place, Priority.HOVER, "c", "d"):
        found = await place.service.batch([("summarize", HOVER)] * 40)
    assert all(isinstance(one, list) and len(one) == 2 for one in found)


async def test_a_batch_without_any_room_is_refused_as_a_whole(
    place: Place, reads: list[str]
) -> None:
    """At once, and none of it is read."""
    with Full(place, Priority.BATCH, "a", "b"):
        body = {"requests": [{"task": "summarize", "code": CODE, "language": "python"}] * 3}
        refused = await place.http.post("/v1/batch", json=body)
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    assert reads == []


async def test_texts_are_read_off_the_loop(place: Place, reads: list[str]) -> None:
    """Short and long ones, so that the loop can always say no."""
    await place.service.answer("summarize", HOVER)
    long = Ask(f"x = '{'y' * LONG}'\n{CODE}", language="python")
    assert len(await place.service.answer("summarize", long)) == 2
    assert reads == ["prepare", "prepare-long"]


async def test_who_leaves_while_it_is_read_gives_its_place_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though the reading goes on."""
    reading, go = threading.Event(), threading.Event()

    def slow(ask: Ask) -> list[Any]:
        reading.set()
        assert go.wait(60)
        return []

    monkeypatch.setattr(answering, "questions_of", slow)
    running = asyncio.create_task(place.service.answer("summarize", HOVER))
    await asyncio.to_thread(reading.wait, 60)
    queue = engine_of(place).scheduler.queue
    assert queue.taken == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (queue.taken, place.service.in_flight) == (0, 0)
    go.set()


@pytest.mark.parametrize(
    "ask",
    [
        Ask(CODE, language="klingon"),
        Ask("a\0b", language="python"),
        Ask(CODE, language="python", function="absent"),
        Ask(CODE, language="python", deadline_ms=1),
    ],
)
async def test_places_are_given_back_whatever_happens(place: Place, ask: Ask) -> None:
    """A mistake, before and after the text was read, or a deadline that passed."""
    try:
        await place.service.answer("summarize", ask)
    except CodepromptError as error:
        assert not isinstance(error, QueueFullError) or isinstance(error, DeadlineError)
    engine = engine_of(place)
    assert engine.scheduler.queue.taken == len(engine.scheduler.queue)


async def test_a_crowd_is_not_even_heard(tmp_path: Path) -> None:
    """Past so many requests at a time the next one's body is not read; who only reads gets in."""
    inside, leave, statuses = asyncio.Event(), asyncio.Event(), list[int]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        await leave.wait()

    async def receive() -> dict[str, Any]:
        raise AssertionError("nobody should read this")

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    crowd = Crowd(app, Settings(home=tmp_path, crowd=1))
    first = asyncio.create_task(crowd({"type": "http", "method": "POST"}, receive, send))
    await inside.wait()
    await crowd({"type": "http", "method": "POST", "headers": []}, receive, send)
    assert statuses == [429]
    reader = asyncio.create_task(crowd({"type": "http", "method": "GET"}, receive, send))
    leave.set()
    await asyncio.gather(first, reader)
    await crowd({"type": "http", "method": "POST"}, receive, send)
    assert statuses == [429]


async def test_the_most_urgent_is_read_first() -> None:
    """Whatever came before it; among equals, who came first. What nobody wants any more is not."""
    lane, busy, done = Lane("test"), threading.Event(), list[str]()
    first = lane.submit(0, lambda: busy.wait(60))
    asked = [
        lane.submit(priority, lambda name=name: done.append(name))  # type: ignore[misc]
        for priority, name in ((3, "batch"), (1, "hover"), (1, "hover 2"), (0, "gone"), (0, "me"))
    ]
    assert asked[3].cancel()
    busy.set()
    for future in (first, asked[0]):
        await asyncio.wrap_future(future)
    assert done == ["me", "hover", "hover 2", "batch"]
    lane.close()


async def test_a_long_text_keeps_no_short_one_waiting() -> None:
    """They have a thread each."""
    preparing, go = Preparing(), threading.Event()
    long = asyncio.create_task(preparing(0, LONG + 1, lambda: go.wait(60)))
    assert await preparing(3, 10, lambda: "short") == "short"
    assert not long.done()
    go.set()
    assert await long
    with pytest.raises(ZeroDivisionError):
        await preparing(0, 1, lambda: 1 // 0)
    preparing.close()


async def test_a_window_waits_for_its_own_alone() -> None:
    """In a full queue: while one of ours is there we wait for it, else we are refused."""
    held = Held(Priority.BATCH, "", 0.0, 0)
    room = [held, held]

    def hold() -> Held:
        if not room:
            raise QueueFullError(2, 1.0)
        return room.pop()

    window = Window(3)
    await window.hold(hold)
    await window.hold(hold)
    third = asyncio.create_task(window.hold(hold))
    await asyncio.sleep(0)
    assert not third.done()
    room.append(held)
    window.free()
    assert await third is held
    window.free()
    window.free()
    with pytest.raises(QueueFullError):
        await window.hold(hold)
    assert window.open == 0


async def test_collections_pass_over_what_is_loaded(place: Place) -> None:
    """A backbone's objects are no garbage: all threads would stand still while one looks."""
    assert place.service.ready is None
    assert gc.get_freeze_count() > 10_000
