"""The engine's queue under more than it can bear: who is refused, who is never kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from codeprompt.engine import Priority
from codeprompt.engine.queue import LONGEST, OWN, PATIENCE, Queue
from codeprompt.engine.room import LEAST
from codeprompt.errors import QueueFullError
from codeprompt.types import Prediction
from tests.test_engine_scheduler import LONG, Hand

SIZE = 100
URGENT = (Priority.EXPLICIT, Priority.HOVER)


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand(waiting=SIZE)
    yield made
    made.land()
    made.engine.close()


def filled(queue: Queue, priority: Priority, clients: int = 8) -> int:
    """Places that clients of a priority get until one of them is refused."""
    for number in range(10 * queue.size):
        try:
            queue.hold(priority, f"c{number % clients}", None, 0.0)
        except QueueFullError:
            return number
    raise AssertionError("the queue has no end")


def ask(hand: Hand, name: str, priority: Priority, client: str = "") -> Future[Prediction]:
    return hand.ask(name, LONG, priority=priority, client=client)


@pytest.mark.parametrize("flood", [*Priority])
def test_no_priority_fills_the_queue_against_another(flood: Priority) -> None:
    """Whoever floods it, each of the others still finds the places that are its own."""
    queue = Queue(SIZE)
    filled(queue, flood)
    for priority in Priority:
        if priority != flood:
            assert filled(queue, priority) >= int(SIZE * OWN[priority]) > 0
    assert queue.taken <= SIZE


def test_who_is_in_less_of_a_hurry_finds_less_room() -> None:
    """Each priority alone gets so much of the queue, and never more than all of it."""
    most = [filled(Queue(SIZE), priority) for priority in Priority]
    assert most == sorted(most, reverse=True)
    assert most[0] > most[-1] > 0
    assert max(most) <= SIZE


def test_a_place_is_held_before_there_is_a_job(hand: Hand) -> None:
    """It counts for its client and its priority until it is used or given back, once."""
    queue = hand.scheduler.queue
    half = [hand.engine.hold(client="a") for _ in range(SIZE // 2)]
    with pytest.raises(QueueFullError, match="50 requests wait"):
        hand.engine.hold(client="a")
    with pytest.raises(QueueFullError):
        hand.ask("x", client="a")
    future = hand.ask("x", client="a", place=half[0])
    assert (queue.taken, len(queue)) == (SIZE // 2, 1)
    for place in half:
        hand.engine.let_go(place)
        hand.engine.let_go(place)
    assert (queue.taken, len(queue)) == (1, 1)
    hand.land()
    assert future.result().text
    assert not queue.clients


def test_a_held_place_is_not_refused_later(hand: Hand) -> None:
    """Whoever came in between takes none of it."""
    place = hand.engine.hold(priority=Priority.BATCH, client="early")
    filled(hand.scheduler.queue, Priority.EXPLICIT)
    filled(hand.scheduler.queue, Priority.BATCH)
    assert hand.ask("x", priority=Priority.BATCH, client="early", place=place)


def test_a_client_that_floods_takes_no_time_from_another() -> None:
    """Clients take turns, so what one has waiting hardly makes another's answer late."""
    queue = Queue(SIZE)
    queue.pace.seconds = 0.1
    for _ in range(40):
        queue.hold(Priority.HOVER, "flood", None, 0.0)
    with pytest.raises(QueueFullError) as error:
        queue.hold(Priority.HOVER, "flood", 1.0, 0.0)
    assert error.value.retry_after == pytest.approx(4.0)
    for count in range(4):
        assert queue.ahead(Priority.HOVER, "other") == 2 * count + (1 if count < 40 else 0)
        queue.hold(Priority.HOVER, "other", 1.5, 0.0)


def test_what_is_more_urgent_counts_as_ahead() -> None:
    """All of it, whoever's it is; what is less urgent does not."""
    queue = Queue(SIZE)
    for priority in Priority:
        queue.hold(priority, "a", None, 0.0)
    assert [queue.ahead(priority, "b") for priority in Priority] == [1, 2, 3, 4, 5]


def test_the_time_an_answer_takes_counts_for_its_deadline() -> None:
    """What was measured in the air is part of it, for as long as it is news."""
    queue = Queue(SIZE)
    queue.pace.seconds = 0.1
    for _ in range(40):
        queue.pace.flew(2.0, 0.0)
    queue.hold(Priority.HOVER, "a", 1.0, 0.0)  # nothing is ahead: nobody knows better
    with pytest.raises(QueueFullError):
        queue.hold(Priority.HOVER, "b", 1.0, 0.0)
    queue.hold(Priority.HOVER, "b", 61.0, 60.0)


def test_the_less_urgent_come_to_their_turn() -> None:
    """However much of the more urgent there is, each goes after so many others at the latest."""
    jobs, order = Hand(waiting=1000), list[Priority]()
    queue = jobs.scheduler.queue
    for priority in Priority:
        for i in range(100):
            jobs.ask(f"{priority.name}{i}", priority=priority, client=f"c{i % 4}")
    while len(order) < 200 and (job := queue.first()) is not None:
        order.append(job.priority)
        queue.take(job, 0.0)
    for priority, patience in PATIENCE.items():
        turns = [place for place, one in enumerate(order) if one == priority]
        gaps = [b - a for a, b in zip([-1, *turns], turns, strict=False)]
        assert turns and max(gaps) <= patience + len(PATIENCE)
    assert order.count(Priority.EXPLICIT) == 100
    assert all(one in URGENT or order[:140].count(one) <= 9 for one in Priority)


def test_a_batch_is_answered_under_urgent_requests_without_end(hand: Hand) -> None:
    """The air is full of hovers at every turn, and still the batch gets in and comes to its end."""
    batch = [ask(hand, f"b{i}", Priority.BATCH, "batch") for i in range(LEAST + 2)]
    hovers, most = 0, 0
    for _ in range(1500):
        while len(hand.scheduler.queue) < 60:
            ask(hand, f"h{hovers}", Priority.HOVER, f"c{hovers % 5}")
            hovers += 1
        hand.scheduler.turn()
        slow = [job for job in hand.flying() if not job.priority.urgent]
        most = max(most, len(slow))
        if all(future.done() for future in batch):
            break
    assert all(future.result(timeout=0).text for future in batch)
    assert most <= LEAST
    assert hand.scheduler.stats()["answered"] > 10 * len(batch)


def test_a_job_that_only_the_patient_still_want_waits_among_them(hand: Hand) -> None:
    """Once the urgent one who asked for the same has left."""
    ask(hand, "first", Priority.HOVER)
    hand.scheduler.turn()  # one in eight is everybody's
    ask(hand, "a", Priority.BATCH)
    gone = ask(hand, "a", Priority.EXPLICIT)
    hover = ask(hand, "b", Priority.HOVER)
    job = hand.scheduler.queue.first()
    assert job is not None and job.priority == Priority.EXPLICIT
    gone.cancel()
    hand.scheduler.turn()
    assert [one.priority for one in hand.flying()] == [Priority.HOVER] * 2
    hand.land()
    assert hover.result().text


def test_what_a_place_costs_is_measured_and_fades() -> None:
    """Who is more urgent comes later and goes first: ten ahead took two seconds, not one."""
    pace = Queue(SIZE).pace
    for number in range(30):
        pace.waited(Priority.HOVER, 2.0, 10, number * 0.1)
    assert pace.place(Priority.HOVER, 3.0) == pytest.approx(0.2, rel=0.1)
    assert pace.takes(Priority.HOVER, 10, 3.0) > 10 * pace.seconds * 1.5
    assert pace.place(Priority.BATCH, 3.0) == pace.seconds
    assert pace.place(Priority.HOVER, 60.0) == pytest.approx(pace.seconds, rel=0.01)


@pytest.mark.parametrize("admitted", [True, False])
def test_waiting_tells_what_a_place_costs(hand: Hand, admitted: bool) -> None:
    """Of those who were admitted, and of those for whom it took too long."""
    pace = hand.scheduler.queue.pace
    ask(hand, "a", Priority.HOVER)
    hand.ask("b", LONG, priority=Priority.HOVER, deadline=None if admitted else 9.0)
    hand.now = 10.0
    hand.scheduler.turn()
    assert pace.place(Priority.HOVER, 10.0) > pace.seconds + 1.0


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    """Without a deadline of its own, too: minutes are no answer."""
    queue = Queue(4000)
    queue.pace.seconds = 1.0
    taken = 0
    with pytest.raises(QueueFullError):
        for taken in range(1000):
            queue.hold(Priority.BATCH, f"client-{taken}", None, 0.0)
    assert 10 < taken < LONGEST + 1
