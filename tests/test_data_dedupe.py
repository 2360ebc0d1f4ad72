"""Near-duplicates and overlaps: exact against brute force and against published counts."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from codeprompt.data.dedupe import near_duplicates, normalise, overlap, shingles
from codeprompt.data.sources import open_source
from codeprompt.tasks.defect import TASK as DEFECT_TASK
from codeprompt.tasks.translate import TASK as TRANSLATE_TASK


def _similar(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b) if a | b else float(normalise(one) == normalise(other))


def _brute(texts: list[str], threshold: float) -> list[int]:
    kept: list[str] = []
    dropped = []
    for at, text in enumerate(texts):
        if any(
            _similar(text, other) >= threshold - 1e-9 or normalise(text) == normalise(other)
            for other in kept
        ):
            dropped.append(at)
        else:
            kept.append(text)
    return dropped


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]))
def test_the_filtered_join_equals_brute_force(data: st.DataObject, threshold: float) -> None:
    word = st.sampled_from(["a", "b", "c", "d", "(", ")", "=", ";"])
    text = st.lists(word, max_size=25).map(" ".join)
    texts = data.draw(st.lists(text, max_size=15))
    assert near_duplicates(texts, threshold) == _brute(texts, threshold)


def test_small_edits_of_long_texts_are_found_and_others_kept() -> None:
    draw = random.Random(0)
    base = [" ".join(f"v{draw.randrange(50)} +" for _ in range(100)) for _ in range(100)]
    edited = [text.replace("+", "-", 1) for text in base]
    assert near_duplicates([*base, *edited]) == list(range(100, 200))


def test_white_space_alone_makes_no_difference() -> None:
    assert near_duplicates(["a(b);", "c", " a (\tb ) ;\n", "", " "]) == [2, 4]
    assert near_duplicates([]) == []


def test_a_short_text_is_one_shingle() -> None:
    assert shingles("a b") == {("a", "b")} and shingles(" ") == frozenset()
    assert len(shingles("a b c d e f")) == 2


def test_overlaps_of_the_real_sets_are_those_published_with_them(shared_data: Path) -> None:
    """Exact overlaps: CodeTrans 45 (Java) and 60 (C#) of 1,000, Devign 14 of 2,732."""
    source = open_source(shared_data / "codetrans", TRANSLATE_TASK.columns)
    train, test = source.split("train"), source.split("test")
    java = overlap([e.fields["code"] for e in train], [e.fields["code"] for e in test])
    sharp = overlap([e.target for e in train], [e.target for e in test])
    assert (java.exact, sharp.exact, java.rows) == (45, 60, 1000)
    assert 45 <= java.near < 100 and 60 <= sharp.near < 100
    devign = open_source(shared_data / "devign", DEFECT_TASK.columns)
    known = {normalise(e.fields["code"]) for e in devign.split("train") + devign.split("valid")}
    assert sum(normalise(e.fields["code"]) in known for e in devign.split("test")) == 14
