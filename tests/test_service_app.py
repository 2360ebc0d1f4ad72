"""The service behind every route: answers, streams, cancelling, hot packs, memory, draining."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codeprompt.backbones.decoding import Decoding
from codeprompt.check.questions import answered, questions
from codeprompt.engine import Engine
from codeprompt.errors import BackboneError, CodepromptError, DataError, UsageError
from codeprompt.pack import save
from codeprompt.pack.lookup import user_data
from codeprompt.pack.store import with_card
from codeprompt.service import Ask, Item
from codeprompt.service.ask import Token, questions_of
from codeprompt.service.problems import Problem
from tests.serviced import (
    CODE,
    Place,
    builtin,
    make_service,
    pack,
    parts,
    serving,
    small,
    small_pack,
)
from tests.tiny import tiny_t5
from tests.tuned import pack_of

pytestmark = pytest.mark.anyio
LONG = Decoding(max_new_tokens=500, min_new_tokens=499)
"""Seconds of work, for what is to be stopped."""
PYTHON = Ask(CODE, language="python")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the module's service and its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A service with a pack for each task, and a slow one that must be named."""
    slow = with_card(pack(called="slow", decoding=LONG), created="2000-01-01")
    packs = [pack(), pack("defect"), pack("translate"), slow]
    async with serving(tmp_path_factory.mktemp("home"), *packs) as found:
        yield found


async def settled(found: Place) -> None:
    """Wait until nothing is in flight."""
    while found.service.in_flight:
        await asyncio.sleep(0)


async def computing(found: Place) -> None:
    """Wait until an engine has something to do."""
    while not any(held.users for s in found.service.engines.slots.values()
                  for held in s.held.values()):  # fmt: skip
        await asyncio.sleep(0)


async def test_answers_are_those_of_predict(place: Place) -> None:
    """Whatever goes through cache, queue and windows, the items are the engine's own."""
    items = await place.service.answer("summarize", Ask(CODE, language="python", file="a.py"))
    with Engine(builtin()) as engine:
        alone = list(answered(engine, engine.load(pack()), questions(Path("a.py"), CODE.encode())))
    assert [item.question.function.qualified_name for item in items] == ["Server.run", "add"]
    for item, (_, prediction) in zip(items, alone, strict=True):
        assert item.prediction.text == prediction.text
        assert item.prediction.score == pytest.approx(prediction.score, abs=1e-4)


async def test_a_long_file_is_asked_in_windows(place: Place) -> None:
    """A file of more functions than a window is answered whole and in order."""
    code = "".join(f"def f{i}(a):\n    return a + {i}\n\n" for i in range(70))
    items = await place.service.answer("defect", Ask(code, language="python"))
    assert [item.question.function.name for item in items] == [f"f{i}" for i in range(70)]


async def test_streams_tell_texts_and_then_items(place: Place) -> None:
    """The parts of an answer's text come before it and make it up."""
    code = "def unseen(x):\n    return x.strip()\n"
    texts: dict[int, str] = {}
    items: list[Item] = []
    async for event in place.service.stream("summarize", Ask(code, language="python")):
        if isinstance(event, Token):
            assert event.index not in [item.index for item in items]
            texts[event.index] = texts.get(event.index, "") + event.text
        else:
            items.append(event)
    assert {item.index: item.prediction.text for item in items} == {
        index: text.strip() for index, text in texts.items()
    }


async def test_leaving_a_stream_stops_its_computing(place: Place) -> None:
    """What nobody reads any more is not computed: nothing stays in flight."""
    stream = place.service.stream("summarize", Ask(CODE, language="python", pack="slow"))
    reading = asyncio.create_task(anext(stream))
    await computing(place)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()  # type: ignore[attr-defined]
    assert place.service.in_flight == 0


async def test_a_client_that_goes_away_cancels_its_request(place: Place) -> None:
    """The route ends once the client has left, long before the answer would be there."""
    body = b'{"code": "def f(a):\\n    return a\\n", "language": "python", "pack": "slow"}'
    gone = asyncio.Event()
    sent: list[int] = []
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, object]:
        for message in asked:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])  # type: ignore[arg-type]

    scope = {
        "type": "http", "method": "POST", "path": "/v1/summarize", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "server": ("localhost", 80), "client": ("127.0.0.1", 1), "scheme": "http",
    }  # fmt: skip
    running = asyncio.create_task(place.app(scope, receive, send))
    await computing(place)
    gone.set()
    await running
    assert sent == [499]
    assert place.service.in_flight == 0


async def test_a_passed_deadline_is_told(place: Place) -> None:
    """An answer that would come too late is an error of its own."""
    slow = Ask("def g(a):\n    return a\n", language="python", pack="slow", deadline_ms=20)
    with pytest.raises(CodepromptError, match="deadline passed"):
        await place.service.answer("summarize", slow)
    assert place.service.in_flight == 0


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    """Where others fill the queue, a request is told when to come back."""
    slow = small_pack(called="slow", decoding=LONG)
    async with serving(tmp_path, slow, waiting=1) as found:
        asked = [
            asyncio.create_task(found.ask(code=f"def f(a):\n    return {i}\n")) for i in range(40)
        ]
        done, rest = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        refused = done.pop().result()
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        await settled(found)


async def test_a_batch_answers_in_order_and_fails_one_by_one(place: Place) -> None:
    """A request that fails has its error in its place, and the others their answers."""
    asked = [
        ("summarize", PYTHON),
        ("summarize", Ask(CODE, language="klingon")),
        ("defect", PYTHON),
        ("translate", PYTHON),
    ]
    found = await place.service.batch(asked)
    assert isinstance(found[1], DataError) and isinstance(found[3], UsageError)
    assert "target_language" in str(found[3])
    kinds = [[item.kind for item in items] for items in (found[0], found[2])]  # type: ignore[union-attr]
    assert kinds == [["generate"] * 2, ["classify"] * 2]


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (Ask(CODE), "No language is given"),
        (Ask(CODE, file="notes.txt"), "ending tells no supported language"),
        (Ask(CODE, language="python", function="absent"), "no function of the name"),
        (Ask("a\0b", language="python"), "binary"),
    ],
)
async def test_mistakes_are_told_and_hold_nothing_of_the_code(ask: Ask, match: str) -> None:
    """Each says what is the matter; none repeats what the code says."""
    with pytest.raises(CodepromptError, match=match) as error:
        questions_of(ask)
    assert "listen" not in str(error.value) and "Server" not in str(error.value).split("xpected")[0]


async def test_the_ending_tells_the_language() -> None:
    """A file's name is enough, and the file need not exist."""
    asked = questions_of(Ask("int f(void) { return 0; }", file="nowhere/a.c"))
    assert [q.function.language.name for q in asked] == ["c"]


async def test_whole_is_one_question() -> None:
    """The text as it stands, whatever functions it holds."""
    asked = questions_of(Ask(CODE, language="python", whole=True))
    assert [q.function.code for q in asked] == [CODE]
    assert (asked[0].function.start_line, asked[0].function.end_line) == (1, 8)


async def test_a_whole_text_has_the_name_it_is_given() -> None:
    """As a template may ask for it; and the path of the file it is from."""
    [asked] = questions_of(Ask("x = 1", file="src/a.py", function="Server.run", whole=True))
    fields = asked.fields()
    told = [fields[name] for name in ("name", "qualified_name", "class", "path", "code")]
    assert told == ["run", "Server.run", "Server", "src/a.py", "x = 1"]


async def test_no_functions_is_no_error(place: Place) -> None:
    """A text without functions has no answers."""
    assert await place.service.answer("summarize", Ask("x = 1\n", language="python")) == []


async def test_a_pack_of_another_task_is_refused(place: Place) -> None:
    """The message names the route for it."""
    with pytest.raises(UsageError, match="POST /v1/defects"):
        await place.service.answer("summarize", Ask(CODE, language="python", pack="defect"))


async def test_a_pack_in_a_folder_answers_and_is_reloaded(place: Place) -> None:
    """What `tune` writes answers the next request under its new version."""
    folder = user_data() / "packs" / "mine"
    save(pack(called="mine"), folder)
    first = await place.service.answer("summarize", Ask(CODE, language="python", pack="mine"))
    save(pack(called="mine", decoding=Decoding(max_new_tokens=3)), folder)
    second = await place.service.answer("summarize", Ask(CODE, language="python", pack="mine"))
    assert first[0].version != second[0].version
    assert first[0].prediction.text != second[0].prediction.text
    listed = {one["name"]: one for one in await place.service.pack_list()}
    assert listed["mine"]["where"] == "user" and listed["mine"]["version"] == second[0].version


async def test_requests_in_flight_keep_their_version(place: Place) -> None:
    """A new version is active while the old one still answers who began with it."""
    one = pack(called="hot", decoding=Decoding(max_new_tokens=24, min_new_tokens=23))
    two = pack(called="hot", decoding=Decoding(max_new_tokens=4))
    await place.service.add_pack(*parts(one))
    code = "".join(f"def f{i}(a):\n    return a + {i}\n\n" for i in range(34))
    running = asyncio.create_task(
        place.service.answer("summarize", Ask(code, language="python", pack="hot"))
    )
    await computing(place)
    await place.service.add_pack(*parts(two))
    after = await place.service.answer("summarize", Ask(CODE, language="python", pack="hot"))
    before = await running
    assert {item.version for item in before} == {one.card.integrity[:12]}
    assert {item.version for item in after} == {two.card.integrity[:12]}
    named = Ask(CODE, language="python", pack=f"hot@{one.card.integrity[:12]}")
    assert (await place.service.answer("summarize", named))[0].version == before[0].version


async def test_the_least_recently_used_backbone_makes_room(tmp_path: Path) -> None:
    """Under the memory cap two backbones take turns; idle ones are unloaded after a while."""
    other = tiny_t5(tmp_path / "tiny", seed=1)
    far, near = pack_of("hard", other, "summarize", called="far"), small_pack()
    async with serving(tmp_path / "home", near, far, memory_mb=0) as found:
        service = found.service
        await service.answer("summarize", Ask(CODE, language="python", pack="far"))
        assert service.engines.hashes() == {other.hash}
        await service.answer("summarize", Ask(CODE, language="python", pack="summarize"))
        assert service.engines.hashes() == {small()[0].hash}
        slot = next(iter(service.engines.slots.values()))
        used, engine = slot.used, weakref.ref(slot.engine)
        del slot
        assert await service.engines.sweep(used + 599) == 0
        assert await service.engines.sweep(used + 601) == 1
        assert not service.engines.slots
        assert engine() is None
        assert await service.answer("summarize", Ask(CODE, language="python", pack="far"))


async def test_a_backbone_that_is_not_here_is_told(tmp_path: Path) -> None:
    """The message names it, and the option that says where it lies."""
    strange = pack_of("hard", tiny_t5(seed=3), "summarize", called="strange")
    async with serving(tmp_path, strange, backbone=small()[1]) as found:
        with pytest.raises(BackboneError, match=r"'strange' was made for .* --backbone"):
            await found.service.answer("summarize", PYTHON)
        assert (await found.ask()).status_code == 409


async def test_draining_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    """New requests are refused while those that began are answered."""
    slow = small_pack(called="slow", decoding=Decoding(max_new_tokens=60, min_new_tokens=59))
    ended: list[int] = []
    async with serving(tmp_path, slow) as found:
        service = found.service
        service.on_shutdown = lambda: ended.append(service.in_flight)
        running = asyncio.create_task(service.answer("summarize", PYTHON))
        await computing(found)
        service.begin_shutdown()
        with pytest.raises(Problem, match="shutting down") as refused:
            await service.answer("summarize", PYTHON)
        assert refused.value.status == 503
        assert (await found.http.get("/readyz")).status_code == 503
        assert len(await running) == 2
        assert await service.drain()
        while not ended:
            await asyncio.sleep(0)
        assert ended == [0]


async def test_training_gives_way_to_requests(tmp_path: Path) -> None:
    """Jobs stand still from the first request in flight to the last, and only then."""
    async with serving(tmp_path, small_pack()) as found:
        jobs = found.service.jobs
        assert not jobs.share.busy
        running = asyncio.create_task(found.service.answer("summarize", PYTHON))
        await computing(found)
        assert jobs.share.busy
        await running
        assert not jobs.share.busy


async def test_not_ready_until_a_backbone_answers(tmp_path: Path) -> None:
    """A backbone that cannot be loaded keeps the service from being ready, and says why."""
    service = make_service(tmp_path, backbone="absent/folder")
    assert service.ready is not None and service.ready.code == "loading"
    await service.warm_up()
    assert service.ready is not None and service.ready.code == "backbone"
    service.store.close()
