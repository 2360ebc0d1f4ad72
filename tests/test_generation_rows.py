"""No row's answer depends on its neighbours; streams, stops, draws and what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.processors import Draws
from codeprompt.backbones.serving import prepare
from codeprompt.backbones.t5 import T5
from codeprompt.errors import BackboneError, UnknownNameError, UsageError
from codeprompt.inject import Columns, Injection, collate
from tests.generating import EOS, answer, pair, sources


def test_allowed_tokens_by_row() -> None:
    """Each row keeps to its own allowed tokens, also after its neighbours have left."""
    _, ours = pair(0)
    source = sources(ours, 4)
    allowed = torch.zeros(4, ours.config.vocab_size, dtype=torch.bool)
    sets = [{EOS}, {7, 8}, {EOS, 9}, {3, 4, EOS}]
    for row, tokens in enumerate(sets):
        allowed[row, list(tokens)] = True
    for beams in (1, 3):
        found = answer(ours, source, Decoding(max_new_tokens=9, beams=beams), allowed=allowed)
        assert found[0][0].ids == () and found[0][0].finished
        assert len(found[1][0].ids) == 9 and not found[1][0].finished
        for tokens, answers in zip(sets, found, strict=True):
            assert set(answers[0].ids) <= tokens - {EOS}


def test_no_sequence_comes_back_twice() -> None:
    """Where fewer sequences exist than candidates, each comes back once."""
    _, ours = pair(0)
    allowed = torch.zeros(ours.config.vocab_size, dtype=torch.bool)
    allowed[[EOS, 9]] = True
    decoding = Decoding(max_new_tokens=2, beams=6, candidates=6)
    for row in answer(ours, sources(ours, 3), decoding, allowed=allowed):
        assert sorted((h.ids, h.finished) for h in row) == [
            ((), True),
            ((9,), True),
            ((9, 9), False),
        ]


def one(source: Source, row: int) -> Source:
    """One row alone, without its padding."""
    size = int(source.mask[row].sum())
    part = slice(row, row + 1)
    return Source(source.ids[part, :size], source.mask[part, :size])


def alike(found: list[Hypothesis], expected: list[Hypothesis], within: float = 1e-6) -> None:
    assert [(h.ids, h.finished) for h in found] == [(h.ids, h.finished) for h in expected]
    scores = [h.score for h in expected]
    assert [h.score for h in found] == pytest.approx(scores, abs=within, rel=within)


PROMPTED = {
    "greedy": Decoding(max_new_tokens=20, repetition_penalty=1.1),
    "beams": Decoding(max_new_tokens=20, beams=4, candidates=3, no_repeat_ngram=3),
    "early": Decoding(
        max_new_tokens=20, beams=5, candidates=5, early_stopping=True, length_penalty=0.3
    ),
    "draws": Decoding(max_new_tokens=20, sample=True, candidates=3, top_p=0.9, seed=4),
}


@pytest.mark.parametrize("decoding", PROMPTED.values(), ids=PROMPTED)
def test_a_batch_of_prompts_equals_each_alone(decoding: Decoding) -> None:
    """Rows with prompts of their own leave the batch one after another and change nobody."""
    _, ours = pair(7)
    c = ours.config
    torch.manual_seed(1)

    def columns(length: int) -> Columns:
        shape = (c.num_decoder_layers, c.num_heads, length, c.d_kv)
        return Columns(torch.randn(shape).double(), torch.randn(shape).double())

    prompts = [
        Injection(columns={"decoder": columns(2), "cross": columns(3)}),
        Injection(),
        Injection(columns={"decoder": replace(columns(4), convention="past")}),
    ]
    owners = [row % 3 for row in range(10)]
    source = sources(ours, 10)
    seeds = list(range(20, 30))
    together = answer(ours, source, decoding, collate(prompts, owners), seeds=seeds)
    for row, owner in enumerate(owners):
        own = collate([prompts[owner]])
        alone = answer(ours, one(source, row), decoding, own, seeds=seeds[row : row + 1])
        alike(together[row], alone[0])
    assert len({len(h.ids) for row in together for h in row}) > 2


def test_draws_follow_the_distribution() -> None:
    """Tokens are drawn as often as they are likely, and never where that is zero."""
    scores = torch.tensor([-torch.inf, 1.0, 0.0, -torch.inf, 2.0, -torch.inf])
    count = 4000
    draws = Draws(list(range(count)), 1, 1, torch.device("cpu"))
    tokens = draws(scores.expand(count, 1, 6), 0).flatten()
    wanted = scores.softmax(0) * count
    seen = torch.bincount(tokens, minlength=6).float()
    assert (seen[wanted == 0] == 0).all()
    likely = wanted > 0
    chi = ((seen - wanted)[likely] ** 2 / wanted[likely]).sum()
    assert chi < 13.8  # 99.9% of chi-squared with two degrees of freedom


def test_extreme_draws_hit_likely_tokens() -> None:
    """A drawn number of zero or just below one never lands on a token of probability zero."""
    draws = Draws([0, 0], 1, 1, torch.device("cpu"))
    draws.numbers = torch.tensor([0.0, 1.0 - 2.0**-53], dtype=torch.float64)[:, None, None]
    scores = torch.tensor([-torch.inf, 0.3, 0.1, 0.7, -torch.inf]).expand(2, 1, 5)
    assert draws(scores, 0).flatten().tolist() == [1, 3]


def test_one_seed_gives_one_answer() -> None:
    """A row's draws depend on its seed and the candidate's number, on nothing else."""
    _, ours = pair(1)
    source = sources(ours, 4)
    decoding = Decoding(max_new_tokens=12, sample=True, seed=7, candidates=3)
    found = answer(ours, source, decoding)
    assert found == answer(ours, source, decoding)
    assert found != answer(ours, source, replace(decoding, seed=8))
    assert len({h.ids for row in found for h in row}) > 6
    fewer = answer(ours, source, replace(decoding, candidates=1))
    longer = answer(ours, source, replace(decoding, max_new_tokens=15))
    seeded = answer(ours, source, replace(decoding, seed=1), seeds=[7, 8, 7, 9])
    for row in range(4):
        alike(fewer[row], found[row][:1])
        assert longer[row][0].ids[:12] == found[row][0].ids
    alike(seeded[0], found[0])
    alike(seeded[2], found[2])
    assert seeded[1] != found[1]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_stop_ends_at_the_next_step(beams: int) -> None:
    """Once `should_stop` is true no more steps are made, and the beginning comes back."""
    _, ours = pair(0)
    source = sources(ours)
    decoding = Decoding(max_new_tokens=16, min_new_tokens=16, beams=beams)
    for asked in (0, 5):
        answers = iter([False] * asked + [True])
        found = answer(ours, source, decoding, should_stop=lambda it=answers: next(it))
        assert {len(row[0].ids) for row in found} == {asked}
        assert not any(row[0].finished for row in found)
        same = replace(decoding, max_new_tokens=max(asked, 1), min_new_tokens=asked)
        if asked and beams == 1:
            assert [row[0].ids for row in found] == [r[0].ids for r in answer(ours, source, same)]


def test_greedy_answers_stream() -> None:
    """Every new token of every row is told once, under the row's own number."""
    _, ours = pair(1)
    source = sources(ours, 8)
    told: dict[int, list[tuple[int, ...]]] = {row: [] for row in range(8)}
    decoding = Decoding(max_new_tokens=14)
    found = answer(ours, source, decoding, on_step=lambda row, ids: told[row].append(ids))
    assert len({len(row[0].ids) for row in found}) > 2
    for row, (hypothesis,) in enumerate(found):
        assert told[row] == [hypothesis.ids[: t + 1] for t in range(len(hypothesis.ids))]
    with pytest.raises(UsageError, match="cannot be streamed from 2 beams"):
        answer(ours, source, Decoding(beams=2), on_step=lambda row, ids: None)


class Damaged:
    """A decoder whose scores turn into NaN at the third step."""

    def __init__(self, ours: T5) -> None:
        self.ours, self.device, self.steps = ours, ours.device, 0
        self.encode, self.remember, self.begin = ours.encode, ours.remember, ours.begin

    def step(self, ids: Tensor, state: Any) -> Tensor:
        self.steps += 1
        return self.ours.step(ids, state) * (float("nan") if self.steps == 3 else 1.0)


@pytest.mark.parametrize(
    "decoding", [Decoding(beams=3), Decoding(), Decoding(sample=True)], ids=["beam", "one", "draw"]
)
def test_nan_is_told(decoding: Decoding) -> None:
    """Scores that are not numbers are an error with a way out, not an answer."""
    _, ours = pair(0)
    settings = replace(decoding, max_new_tokens=6, min_new_tokens=6)
    with pytest.raises(BackboneError, match="not numbers"):
        answer(Damaged(ours), sources(ours), settings)


def test_bans_that_leave_nothing_end_a_row() -> None:
    """Without a token left to choose, an answer ends unfinished."""
    _, ours = pair(0)
    allowed = torch.zeros(ours.config.vocab_size, dtype=torch.bool)
    allowed[[7, 8, 9]] = True
    for beams in (1, 3):
        decoding = Decoding(max_new_tokens=9, no_repeat_ngram=1, beams=beams)
        for hypothesis, *_ in answer(ours, sources(ours), decoding, allowed=allowed):
            assert not hypothesis.finished
            assert len(set(hypothesis.ids)) == len(hypothesis.ids) <= 3


@pytest.mark.parametrize("decoding", PROMPTED.values(), ids=PROMPTED)
def test_the_serving_pass_generates_the_same(decoding: Decoding) -> None:
    """The fast copy gives the reference pass's answers, also once rows have left the batch."""
    _, ours = pair(7)
    source = sources(ours, 9)
    expected = answer(ours, source, decoding)
    for found, wanted in zip(
        answer(prepare(ours, "float32"), source, decoding), expected, strict=True
    ):
        alike(found[:1], wanted[:1], within=1e-4)  # float32 beside float64


WRONG: list[tuple[Mapping[str, Any], str]] = [
    ({"max_new_tokens": 0}, r"`max_new_tokens` is 0.*whole number from 1"),
    ({"beams": 2.0}, r"`beams` is 2\.0"),
    ({"beams": True}, "`beams` is True"),
    ({"candidates": 2}, "2 candidates of 1 beam"),
    ({"sample": True, "beams": 2}, "`sample` with 2 beams"),
    ({"sample": 1}, "`sample` is 1"),
    ({"temperature": 0.0}, "`temperature` is 0.0.*`sample` off is greedy"),
    ({"temperature": float("nan")}, "`temperature` is nan"),
    ({"top_p": 1.1}, "`top_p` is 1.1.*from 0 to 1"),
    ({"min_p": -0.1}, "`min_p` is -0.1"),
    ({"length_penalty": float("inf")}, "`length_penalty` is inf"),
    ({"repetition_penalty": 0}, "`repetition_penalty` is 0"),
    ({"early_stopping": "always"}, "`early_stopping` is 'always'.*never"),
    ({"min_new_tokens": 9, "max_new_tokens": 8}, "above `max_new_tokens`"),
    ({"seed": -1}, "`seed` is -1"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """Each setting says what it was and what it may be."""
    with pytest.raises(UsageError, match=message):
        Decoding(**settings)


def test_decoding_survives_json() -> None:
    """A card keeps all settings; a setting nobody knows is answered with the nearest name."""
    import json

    decoding = Decoding(beams=4, early_stopping="never", length_penalty=0.6)
    assert Decoding.from_json(json.loads(json.dumps(decoding.as_json()))) == decoding
    with pytest.raises(UnknownNameError, match="Did you mean 'beams'"):
        Decoding.from_json({"beam": 4})


def test_wrong_allowed_tokens_are_refused() -> None:
    """A mask of another type, for other rows or without any token is told."""
    _, ours = pair(0)
    source = sources(ours, 3)
    size = ours.config.vocab_size
    with pytest.raises(UsageError, match="booleans"):
        answer(ours, source, Decoding(), allowed=torch.ones(size))
    with pytest.raises(UsageError, match=r"booleans \[V\] or \[3,V\]"):
        answer(ours, source, Decoding(), allowed=torch.ones(2, size, dtype=torch.bool))
    only_end = torch.zeros(size, dtype=torch.bool)
    only_end[EOS] = True
    with pytest.raises(UsageError, match="No token may be generated"):
        answer(ours, source, Decoding(min_new_tokens=1), allowed=only_end)
