"""Flights: rows that join and leave at any step answer as each alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.generation import generate
from codeprompt.backbones.llama import Llama
from codeprompt.backbones.search import Ask, Tokens
from codeprompt.backbones.serving import ServingLlama, ServingT5, pages, prepare
from codeprompt.backbones.serving.kernels import DTYPES
from codeprompt.backbones.serving.trace import Traces
from codeprompt.backbones.t5 import T5
from codeprompt.engine.flight import Flight, at_steps
from codeprompt.inject import Injection, collate
from tests import generating
from tests import test_llama as llama
from tests import test_t5 as t5
from tests.test_serving import every_prompt

TOKENS = Tokens(eos=generating.EOS, pad=generating.PAD, start=generating.START)


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The float32 copy in float64, so that any difference is a fault and not rounding.

    Its small caches on pages of their own, as large ones are.
    """
    monkeypatch.setitem(DTYPES, "float32", torch.float64)
    monkeypatch.setattr(pages, "LEAST", 1)


def wandering() -> T5:
    """A T5 whose answers end early, late or never, of the shape that `every_prompt` knows."""
    theirs, ours = t5.pair(tie_word_embeddings=False)
    theirs, ours = theirs.double(), ours.double()
    torch.manual_seed(0)
    with torch.no_grad():
        head = generating.wandering_head(theirs, ours.config.vocab_size, 0.12)
        ours.lm_head.weight.copy_(head)
    return ours


def wandering_llama() -> Llama:
    """The same of a decoder-only model."""
    theirs, ours = llama.pair(model_type="qwen2")
    theirs, ours = theirs.double(), ours.double()
    llama.restless(theirs, ours)
    return ours


class Passenger:
    """A row with a prompt and settings of its own."""

    def __init__(self, number: int, backbone: Any, prompt: Injection, decoding: Decoding) -> None:
        self.prompt, self.decoding, self.number = prompt, decoding, number
        self.steps = at_steps(prompt)
        generator = torch.Generator().manual_seed(number)
        size = max(prompt.length, 1) + int(torch.randint(1, 20, (1,), generator=generator))
        self.ids = torch.randint(3, backbone.config.vocab_size, (size,), generator=generator)

    def ask(self) -> Ask:
        return Ask(self.decoding, seed=self.number)


def source_of(rows: list[Passenger]) -> Source:
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    slots, mask = torch.full_like(ids, -1), torch.zeros_like(ids, dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)], mask[place, : len(row.ids)] = row.ids, True
        slots[place, : row.prompt.length] = torch.arange(row.prompt.length)
    return Source(ids, mask, slots)


def alone(model: Any, row: Passenger) -> list[Hypothesis]:
    source, injected = source_of([row]), collate([row.prompt])
    memory = model.remember(model.encode(source, injected), source, injected)
    [found] = generate(
        model, memory, injected, row.decoding, eos=2, pad=0, start=0, seeds=[row.number]
    )
    return found


def fly(
    model: ServingT5 | ServingLlama, rows: list[Passenger], random_: random.Random
) -> tuple[dict[int, list[Hypothesis]], int]:
    """Every row's answers, and the most rows that were in the air at once."""
    waiting, found, most = list(rows), dict[int, list[Hypothesis]](), 0
    flight: Flight[Passenger] = Flight(model, rows[0].decoding, TOKENS)
    while waiting or flight.seats:
        if waiting and (not flight.seats or random_.random() < 0.3):
            count = random_.choice([1, 1, 2, 4])
            joining, waiting = waiting[:count], waiting[count:]
            source = source_of(joining)
            injected = collate([r.prompt for r in joining], range(len(joining)))
            hidden = model.encode(source, injected)
            asks = [row.ask() for row in joining]
            flight.join(joining, asks, hidden, source, injected, [r.steps for r in joining])
        most = max(most, len(flight.seats))
        done = flight.step()
        for row, answers in zip(done, flight.answers(done), strict=True):
            found[flight.seats[row].number] = answers
        if done:
            flight.leave(done)
    return found, most


PATHS = [
    Decoding(max_new_tokens=40),
    Decoding(max_new_tokens=9, repetition_penalty=1.2),
    Decoding(max_new_tokens=24, no_repeat_ngram=2, min_new_tokens=3),
    Decoding(max_new_tokens=18, sample=True, top_p=0.9),
    Decoding(max_new_tokens=12, sample=True, temperature=1.3),
]
BEAMS = [
    Decoding(max_new_tokens=30, beams=4, candidates=4),
    Decoding(max_new_tokens=11, beams=4, length_penalty=0.3),
    Decoding(max_new_tokens=36, beams=4, early_stopping=True, candidates=2),
    Decoding(max_new_tokens=25, beams=4, early_stopping="never", no_repeat_ngram=3),
]
DRAWS = [Decoding(max_new_tokens=n, sample=True, candidates=3, top_k=20) for n in (7, 19)]


@pytest.mark.parametrize("decodings", [PATHS, BEAMS, DRAWS], ids=["one", "beams", "draws"])
@pytest.mark.parametrize("traced", [False, True])
def test_rows_that_join_at_any_step_answer_as_alone(
    decodings: list[Decoding], traced: bool
) -> None:
    """Every prompt, source length and setting mixed: the same tokens, scores within 1e-9."""
    backbone = wandering()
    model = prepare(backbone, "float32", trace=traced)
    if traced:
        model.traces = Traces(patience=2, background=False)
    check_alike(backbone, model, every_prompt(backbone), decodings)


@pytest.mark.parametrize("decodings", [PATHS, BEAMS, DRAWS], ids=["one", "beams", "draws"])
def test_rows_of_a_decoder_only_model_join_at_any_step(decodings: list[Decoding]) -> None:
    """The same where a row's source and answer stand in one cache."""
    backbone = wandering_llama()
    check_alike(backbone, prepare(backbone, "float32"), llama.prompts(backbone), decodings)


def check_alike(
    backbone: Any, model: Any, given: list[Injection], decodings: list[Decoding]
) -> None:
    """Forty rows of these prompts, in the air together and each alone on the backbone."""
    prompts = [backbone.lower(p.to(torch.float64)) for p in given]
    random_ = random.Random(5)
    rows = [
        Passenger(n, backbone, prompts[n % len(prompts)], random_.choice(decodings))
        for n in range(40)
    ]
    random_.shuffle(rows)
    with torch.inference_mode():
        found, most = fly(model, rows, random_)
        assert most > 6
        lengths = set()
        for row in rows:
            expected = alone(backbone, row)  # the reference pass
            assert [(h.ids, h.finished) for h in found[row.number]] == [
                (h.ids, h.finished) for h in expected
            ], row.number
            scores = [h.score for h in expected]
            assert [h.score for h in found[row.number]] == pytest.approx(scores, abs=1e-5)
            lengths.update(len(h.ids) for h in expected)
    assert len(lengths) > 5
