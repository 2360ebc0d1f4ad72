"""The cache of answers: bounded, least recently used out, deletable, counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeprompt.backbones.decoding import Decoding
from codeprompt.service.cache import Cache, size_of
from codeprompt.types import Prediction
from tests.serviced import CODE, serving, small_pack

pytestmark = pytest.mark.anyio
ONE = Prediction("one", -0.5)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The loop."""
    return "asyncio"


def test_what_was_used_last_stays() -> None:
    """Once it is full, the answer that nobody has wanted for longest goes."""
    cache = Cache(3 * size_of(ONE))
    for key in "abc":
        cache.put(key, ONE)
    assert cache.get("a") == ONE
    cache.put("d", ONE)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.size <= cache.limit


def test_it_never_holds_more_than_its_bytes() -> None:
    """Long answers push out several short ones; one that alone is too long is not kept."""
    cache = Cache(4 * size_of(ONE))
    for key in "abcd":
        cache.put(key, ONE)
    cache.put("long", Prediction("x" * size_of(ONE), 0.0))
    assert cache.get("long") and cache.get("a") is None
    assert cache.size <= cache.limit
    cache.put("longest", Prediction("x" * cache.limit, 0.0))
    assert cache.get("longest") is None and cache.get("long")


def test_an_answer_that_is_put_again_counts_once() -> None:
    """The newer one is kept."""
    cache = Cache(10 * size_of(ONE))
    cache.put("a", ONE)
    cache.put("a", Prediction("two", 0.0, {"clean": 1.0}))
    assert len(cache) == 1
    assert cache.size == size_of(Prediction("two", 0.0, {"clean": 1.0}))


def test_hits_and_misses_are_counted() -> None:
    """Clearing keeps the counts."""
    cache = Cache(10 * size_of(ONE))
    cache.get("a")
    cache.put("a", ONE)
    cache.get("a")
    assert cache.clear() == 1
    assert (cache.hits, cache.misses, cache.size, len(cache)) == (1, 1, 0, 0)


def test_no_room_keeps_nothing() -> None:
    """A cache of 0 bytes is off."""
    cache = Cache(0)
    cache.put("a", ONE)
    assert cache.get("a") is None


async def test_a_hit_is_told_and_another_pack_or_input_is_none(tmp_path: Path) -> None:
    """The same function, pack and decoding is known; anything else is asked."""
    other = small_pack(called="other", decoding=Decoding(max_new_tokens=3))
    async with serving(tmp_path, small_pack(), other) as found:
        first = (await found.ask(pack="summarize")).json()["results"]
        assert [one["cached"] for one in first] == [False, False]
        again = (await found.ask(pack="summarize", priority="hover", file="a.py")).json()["results"]
        assert [one["cached"] for one in again] == [True, True]
        assert [one["text"] for one in again] == [one["text"] for one in first]
        assert [one["score"] for one in again] == [one["score"] for one in first]
        one = (await found.ask(pack="other")).json()["results"]
        assert [answer["cached"] for answer in one] == [False, False]
        changed = CODE.replace("first + second", "first - second")
        mixed = (await found.ask(pack="summarize", code=changed)).json()["results"]
        assert [answer["cached"] for answer in mixed] == [True, False]
        assert (await found.http.delete("/v1/cache")).json() == {"cleared": 5}
        after = (await found.ask(pack="summarize")).json()["results"]
        assert [answer["cached"] for answer in after] == [False, False]


async def test_a_cached_stream_tells_its_result_alone(tmp_path: Path) -> None:
    """What is known needs no tokens."""
    async with serving(tmp_path, small_pack()) as found:
        await found.ask()
        text = (await found.ask(stream=True)).text
        assert "event: token" not in text and text.count("event: result") == 2
