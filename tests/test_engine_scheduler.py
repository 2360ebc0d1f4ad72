"""The engine's queue and turns, taken by hand: who goes first, who leaves, what is shared."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from codeprompt.backbones.decoding import Decoding
from codeprompt.engine import Engine, Priority, Request
from codeprompt.engine.flight import ROWS
from codeprompt.engine.job import Job
from codeprompt.engine.queue import Queue
from codeprompt.errors import (
    DeadlineError,
    EngineError,
    QueueFullError,
    StoppedError,
    TemplateError,
)
from codeprompt.types import Prediction
from tests.test_engine import assert_same, t5_packs
from tests.tiny import tiny_t5
from tests.tuned import FIELDS, pack_of

LONG = Decoding(max_new_tokens=12, min_new_tokens=12)


class Hand:
    """An engine whose turns and clock are moved by hand."""

    def __init__(self, **more: Any) -> None:
        self.engine = Engine(tiny_t5(), precision="float32", **more)
        self.scheduler, self.now = self.engine.scheduler, 0.0
        self.scheduler.threaded, self.scheduler.clock = False, lambda: self.now
        self.name = self.engine.load(pack_of("soft", self.engine.backbone, "summarize"))

    def ask(self, text: str, decoding: Decoding | None = LONG, **more: Any) -> Future[Prediction]:
        """A question about a function of that name."""
        fields = {"code": f"def {text}(): pass", "language": "python"}
        return self.engine.submit(Request(self.name, fields, decoding), **more)

    def key(self, text: str) -> str:
        fields = {"code": f"def {text}(): pass", "language": "python"}
        return self.engine.render_key(Request(self.name, fields, LONG))

    def flying(self) -> list[Job]:
        return list(self.scheduler.work.jobs())

    def land(self) -> None:
        """Turns until nothing is left."""
        while not self.scheduler.idle:
            self.scheduler.turn()


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand()
    yield made
    made.land()
    made.engine.close()


def test_mixed_requests_that_come_one_by_one_answer_as_alone() -> None:
    """All tasks, prompts and searches, two more with every turn."""
    made = Hand()
    names = [made.engine.load(pack) for pack in t5_packs(made.engine.backbone)]
    requests = [Request(name, fields) for fields in FIELDS for name in names]
    futures = []
    for place, request in enumerate(requests):
        futures.append(made.engine.submit(request, priority=Priority(place % 5)))
        if place % 2:
            made.scheduler.turn()
    made.land()
    for future, expected in zip(futures, made.engine.predict(requests), strict=True):
        assert_same(future.result(timeout=0), expected)


def test_the_urgent_go_ahead_even_when_all_rows_are_taken(hand: Hand) -> None:
    """They are over the limit, and what is not urgent pauses for them."""
    batch = [hand.ask(f"b{i}", priority=Priority.BATCH) for i in range(ROWS + 4)]
    hand.scheduler.turn()
    hand.scheduler.turn()
    assert len(hand.flying()) == ROWS
    urgent = [hand.ask("u", priority=p) for p in (Priority.BATCH, Priority.HOVER)]
    tokens = hand.scheduler.work.tokens
    while not urgent[1].done():
        hand.scheduler.turn()
    assert urgent[1].result().text
    assert not any(future.done() for future in batch)
    made = hand.scheduler.work.tokens - tokens
    assert made < 12 + 3 * ROWS  # its own, and the others' one turn in eight
    hand.land()
    assert all(future.result().text for future in (*batch, *urgent))


def test_who_asks_much_does_not_keep_others_waiting(hand: Hand) -> None:
    """Clients of one priority take turns; more urgent ones go before all of them."""
    for i in range(20):
        hand.ask(f"a{i}", client="many", priority=Priority.BATCH)
    for i in range(2):
        hand.ask(f"b{i}", client="few", priority=Priority.BATCH)
    hand.ask("c", client="many", priority=Priority.DIAGNOSTICS)
    order = []
    queue = hand.scheduler.queue
    while (job := queue.first()) is not None:
        queue.take(job, 0.0)
        order.append((job.waiters[0].client, job.priority))
        queue_is_empty = not len(queue)
    few = [place for place, (client, _) in enumerate(order) if client == "few"]
    assert order[0][1] == Priority.DIAGNOSTICS
    assert few == [2, 4] or few == [1, 3]
    assert queue_is_empty
    assert not queue.clients
    hand.scheduler._known.clear()


def test_a_deadline_that_passed_is_told_and_its_row_leaves(hand: Hand) -> None:
    """In the queue and in the air; others go on."""
    flying, other = hand.ask("a", deadline=5.0), hand.ask("b")
    hand.scheduler.turn()
    waiting = hand.ask("c", deadline=4.0)
    hand.now = 6.0
    hand.scheduler.turn()
    for future in (flying, waiting):
        with pytest.raises(DeadlineError, match="deadline passed"):
            future.result(timeout=0)
    assert len(hand.flying()) == 1
    hand.land()
    assert other.result().text


def test_a_deadline_that_cannot_be_met_is_told_before_computing(hand: Hand) -> None:
    """By the shortest that such an answer has taken so far."""
    hand.ask("a")
    while not hand.scheduler.idle:
        hand.scheduler.turn()
        hand.now += 1.0
    late = hand.ask("b", deadline=hand.now + 2.0)
    hand.scheduler.turn()
    assert isinstance(late.exception(timeout=0), DeadlineError)
    assert not hand.flying()


@pytest.mark.parametrize("turns", [0, 3])
def test_who_gives_up_leaves_at_the_next_step(hand: Hand, turns: int) -> None:
    """By cancelling the future, or by a `should_stop` that turns true; neighbours do not notice."""
    stop: list[int] = []
    gone, kept = hand.ask("a"), hand.ask("b")
    stopped = hand.ask("c", should_stop=lambda: bool(stop))
    for _ in range(turns):
        hand.scheduler.turn()
    assert hand.engine.cancel(gone)
    stop.append(1)
    with pytest.raises(CancelledError):
        gone.result(timeout=0)
    hand.scheduler.turn()
    assert isinstance(stopped.exception(timeout=0), StoppedError)
    assert len(hand.flying()) == 1
    hand.land()
    fields = {"code": "def b(): pass", "language": "python"}
    [expected] = hand.engine.predict([Request(hand.name, fields, LONG)])
    assert_same(kept.result(), expected)


def test_equal_requests_are_computed_once(hand: Hand) -> None:
    """Whoever joins later gets the same answer; it goes on while anybody waits."""
    first = hand.ask("a", priority=Priority.BATCH, client="x")
    second = hand.ask("a", priority=Priority.EXPLICIT, client="y")
    other = hand.ask("b", priority=Priority.HOVER)
    assert len(hand.scheduler.queue) == 2
    assert hand.scheduler.queue.first() is hand.scheduler._known[hand.key("a")]
    hand.scheduler.turn()
    third = hand.ask("a")
    assert len(hand.flying()) == 2
    assert first.cancel()
    hand.land()
    assert second.result() == third.result()
    assert other.result() is not None
    assert hand.scheduler.stats()["answered"] == 2


def test_the_text_comes_in_parts(hand: Hand) -> None:
    """All of them make up the answer; who joins later gets what there is at once."""
    most, drawn = 0, Decoding(max_new_tokens=12, min_new_tokens=12, sample=True, temperature=3.0)
    beams = Decoding(max_new_tokens=8, min_new_tokens=5, beams=3)
    for text in "abcdefgh":
        early, late, searched = list[str](), list[str](), list[str]()
        future = hand.ask(text, drawn, on_token=early.append)
        for _ in range(4):
            hand.scheduler.turn()
        assert not future.done()
        hand.ask(text, drawn, on_token=late.append)
        found = hand.ask(text, beams, on_token=searched.append)
        hand.land()
        assert "".join(early) == "".join(late) == future.result().text
        assert searched == [found.result().text]
        assert len(late) <= len(early)
        most = max(most, len(early) - len(late))
    assert most > 1


def test_parts_go_on_when_a_neighbour_ends_or_joins(hand: Hand) -> None:
    """Three rows of one flight, of which the first is short and the last comes later."""
    parts: list[list[str]] = [[], [], []]
    drawn = [
        Decoding(max_new_tokens=n, min_new_tokens=n, sample=True, temperature=3.0)
        for n in (4, 12, 12)
    ]
    asked = [hand.ask("ab"[i], drawn[i], on_token=parts[i].append) for i in range(2)]
    hand.scheduler.turn()
    asked.append(hand.ask("c", drawn[2], on_token=parts[2].append))
    hand.land()
    assert ["".join(some) for some in parts] == [future.result(timeout=0).text for future in asked]


def test_an_error_in_who_listens_is_its_own(hand: Hand) -> None:
    """The others who wait for the same answer get it."""

    def broken(text: str) -> None:
        raise OSError("gone")

    bad, good = hand.ask("a", on_token=broken), hand.ask("a")
    hand.land()
    assert good.result().text
    with pytest.raises(OSError, match="gone"):
        bad.result()


def test_a_full_queue_says_when_to_come_back() -> None:
    """For all, for one client, and sooner for who is not in a hurry."""
    hand = Hand(waiting=8)
    hand.scheduler.queue.pace.seconds = 0.5
    for i in range(4):
        hand.ask(f"a{i}", client="a", priority=Priority.BATCH)
    with pytest.raises(QueueFullError, match=r"4 requests wait.*Try again in 2\.0 s") as error:
        hand.ask("more", client="a")
    assert error.value.retry_after == pytest.approx(2.0)
    for i in range(2):
        hand.ask(f"b{i}", client="b", priority=Priority.BATCH)
    with pytest.raises(QueueFullError, match="6 requests wait"):
        hand.ask("more", client="b", priority=Priority.BATCH)
    hand.ask("hover", client="b", priority=Priority.HOVER)
    hand.ask("explicit", client="c")
    with pytest.raises(QueueFullError, match="8 requests wait"):
        hand.ask("one more", client="c")
    hand.ask("explicit", client="c")  # an equal one needs no room
    hand.land()
    assert not hand.scheduler.queue.clients


def test_what_cannot_be_there_in_time_is_refused_at_once(hand: Hand) -> None:
    """By what waits before it and the pace that was measured."""
    hand.scheduler.queue.pace.seconds = 1.0
    for i in range(5):
        hand.ask(f"a{i}", priority=Priority.HOVER)
    with pytest.raises(QueueFullError) as error:
        hand.ask("late", priority=Priority.HOVER, deadline=3.0)
    assert error.value.retry_after == pytest.approx(5.0)
    hand.ask("in time", priority=Priority.EXPLICIT, deadline=3.0)


def test_the_pace_follows_what_is_measured() -> None:
    """Seconds of work an answer, the recent ones counting most."""
    queue = Queue(8)
    for _ in range(40):
        queue.pace.worked(1.0, 0)
        queue.pace.worked(1.0, 4)
    assert queue.pace.seconds == pytest.approx(0.5)


def test_a_request_that_fails_does_not_take_its_neighbours_along(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one without its field, nor one that the model stumbles over."""
    encode = hand.engine.model.encode

    def picky(source: Any, injected: Any) -> Any:
        if source.mask.sum(1).max() == 64:
            raise RuntimeError("too long")
        return encode(source, injected)

    monkeypatch.setattr(hand.engine.model, "encode", picky)
    good = [hand.ask("a"), hand.ask("ab")]
    bad = hand.ask("x y z " * 40)
    lacking = hand.engine.submit(Request(hand.name, {"language": "c"}))
    with pytest.raises(TemplateError, match=r"asks for \{code\}"):
        lacking.result(timeout=0)
    hand.land()
    assert all(future.result().text for future in good)
    with pytest.raises(RuntimeError, match="too long"):
        bad.result()


def test_a_step_that_fails_is_told_to_all_it_concerns(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the engine goes on with what comes then."""
    futures = [hand.ask("a"), hand.ask("b")]
    with monkeypatch.context() as patch:
        patch.setattr(hand.engine.model, "step", lambda *a: 1 / 0)
        hand.scheduler.turn()
    for future in futures:
        with pytest.raises(ZeroDivisionError):
            future.result(timeout=0)
    after = hand.ask("a")
    hand.land()
    assert after.result().text


def test_a_pack_that_is_replaced_goes_on_for_what_was_asked_of_it(hand: Hand) -> None:
    """In the queue and in the air; the name means the new one from then on."""
    request = Request(hand.name, FIELDS[0])
    [expected] = hand.engine.predict([request])
    flying = hand.engine.submit(request)
    hand.scheduler.turn()
    waiting = hand.ask("b", None)
    hand.engine.load(pack_of("hard", hand.engine.backbone, "defect"), hand.name)
    new = hand.engine.submit(request)
    hand.engine.unload(hand.name)
    hand.land()
    assert_same(flying.result(), expected)
    assert waiting.result().probabilities == {}
    assert set(new.result().probabilities) == {"clean", "defective"}


def test_closing_answers_what_waits() -> None:
    """Nothing that was taken is lost, and nothing more is taken."""
    with Engine(tiny_t5()) as engine:
        name = engine.load(pack_of("soft", engine.backbone, "summarize"))
        futures = [engine.submit(Request(name, FIELDS[i % 3], LONG)) for i in range(6)]
    assert all(future.result(timeout=0).text for future in futures)
    with pytest.raises(EngineError, match="is closed"):
        engine.submit(Request(name, FIELDS[0]))


def test_a_key_stands_for_all_that_decides_an_answer() -> None:
    """The input as rendered, the pack's content, the decoding and the precision; no name."""
    backbone = tiny_t5()
    with Engine(backbone, precision="float32") as engine, Engine(backbone, precision="bf16") as low:
        pack = pack_of("soft", backbone, "summarize")
        engine.load(pack, "a")
        engine.load(pack, "b")
        low.load(pack, "a")
        engine.load(pack_of("soft", backbone, "summarize", seed=3), "other")
        ask = Request("a", FIELDS[0])
        key = engine.render_key(ask)
        assert key == engine.render_key(Request("b", {**FIELDS[0], "unused": "x"}))
        others = {
            engine.render_key(Request("other", FIELDS[0])),
            engine.render_key(Request("a", FIELDS[1])),
            engine.render_key(Request("a", FIELDS[0], LONG)),
            low.render_key(ask),
        }
        assert len(others | {key}) == 5
        with pytest.raises(TemplateError):
            engine.render_key(Request("a", {}))


def test_an_engine_tells_its_memory_and_warms_up() -> None:
    """Bytes grow by a pack's own; after warming up, its kind of step is recorded."""
    with Engine(tiny_t5()) as engine:
        bare = engine.memory()
        name = engine.load(pack_of("lora", engine.backbone, "summarize"))
        engine.load(pack_of("hard", engine.backbone, "defect"))
        tensors = engine.packs[name].pack.injection.tensors().values()
        assert engine.memory() - bare == sum(t.numel() * t.element_size() for t in tensors)
        engine.warm()
        [kind] = engine.model.traces.made
        assert kind[1]  # the maps that LoRA changes
        assert engine.stats()["waiting"] == engine.stats()["computing"] == 0


def test_sources_come_in_few_widths(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that torch, which keeps compiled products for every shape it met, stops growing."""
    widths: set[int] = set()
    lengths: set[int] = set()
    encode = hand.engine.model.encode

    def seen(source: Any, injected: Any) -> Any:
        widths.add(source.ids.shape[1])
        lengths.add(int(source.mask.sum()))
        return encode(source, injected)

    monkeypatch.setattr(hand.engine.model, "encode", seen)
    for count in range(1, 30):
        hand.ask("x y " * count)
        hand.land()
    assert len(lengths) > 2
    assert widths == {64}
