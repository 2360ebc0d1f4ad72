"""Generation equals Hugging Face's, token for token and score for score."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from codeprompt.backbones.base import Source
from codeprompt.backbones.beams import Beams
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import make_search
from codeprompt.backbones.processors import Processor, warp
from codeprompt.backbones.search import Ask, Tokens
from tests.generating import EOS, PAD, START, answer, pair, sources


def reference(theirs: Any, source: Source, decoding: Decoding, **more: Any) -> Any:
    from transformers import GenerationConfig

    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        early_stopping=decoding.early_stopping,
        min_new_tokens=decoding.min_new_tokens,
        repetition_penalty=float(decoding.repetition_penalty),
        no_repeat_ngram_size=decoding.no_repeat_ngram,
        num_return_sequences=decoding.candidates,
        do_sample=False,
        decoder_start_token_id=START,
        eos_token_id=EOS,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        **more,
    )
    return theirs.generate(
        input_ids=source.ids, attention_mask=source.mask.long(), generation_config=config
    )


def cut(sequence: list[int]) -> tuple[tuple[int, ...], bool]:
    """Hugging Face's row without the start token, the end token and what follows it."""
    ids = tuple(sequence[1:])
    return (ids[: ids.index(EOS)], True) if EOS in ids else (ids, False)


def compare(seed: int, decoding: Decoding, rows: int = 5, **more: Any) -> list[int]:
    """Check every candidate of every row; returns the lengths of the answers."""
    theirs, ours = pair(seed)
    source = sources(ours, rows, seed=seed + 100)
    expected = reference(theirs, source, decoding, **more)
    allowed = None
    if "suppress_tokens" in more:
        allowed = torch.ones(ours.config.vocab_size, dtype=torch.bool)
        allowed[more["suppress_tokens"]] = False
    found = answer(ours, source, decoding, allowed=allowed)
    flat = [hypothesis for row in found for hypothesis in row]
    assert len(flat) == rows * decoding.candidates
    wanted = [cut(sequence) for sequence in expected.sequences.tolist()]
    assert [(h.ids, h.finished) for h in flat] == wanted
    if decoding.beams > 1:
        scores = expected.sequences_scores.tolist()
    else:
        logits = torch.stack(expected.logits, 1).log_softmax(-1)
        steps = expected.sequences[:, 1:, None]
        each = logits.gather(-1, steps).squeeze(-1)
        scores = []
        for row, (ids, ended) in enumerate(wanted):
            scores.append(float(each[row, : len(ids) + ended].mean()))
    assert [h.score for h in flat] == pytest.approx(scores, abs=1e-6, rel=1e-6)
    return [len(h.ids) for h in flat]


GREEDY = {
    "plain": {},
    "minimum": {"min_new_tokens": 9},
    "penalty": {"repetition_penalty": 1.4},
    "reward": {"repetition_penalty": 0.8},
    "no unigram twice": {"no_repeat_ngram": 1},
    "no bigram twice": {"no_repeat_ngram": 2},
    "no trigram twice": {"no_repeat_ngram": 3, "min_new_tokens": 20},
    "all": {"no_repeat_ngram": 2, "min_new_tokens": 5, "repetition_penalty": 1.2},
    "one token": {"max_new_tokens": 1},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("settings", GREEDY.values(), ids=GREEDY)
def test_greedy_equals_hugging_face(settings: dict[str, Any], seed: int) -> None:
    """Greedy search gives the reference's tokens and their mean log-probability."""
    compare(seed, Decoding(**{"max_new_tokens": 24, **settings}))


BEAMS = {
    "plain": {},
    "two": {"beams": 2},
    "wide": {"beams": 9, "candidates": 9},
    "early": {"early_stopping": True},
    "never": {"early_stopping": "never"},
    "sum": {"length_penalty": 0.0, "early_stopping": "never"},
    "long": {"length_penalty": 2.5, "early_stopping": "never"},
    "long, heuristic": {"length_penalty": 2.5},
    "short": {"length_penalty": -1.5},
    "short, never": {"length_penalty": -0.5, "early_stopping": "never", "candidates": 4},
    "half": {"length_penalty": 0.6, "early_stopping": True},
    "minimum": {"min_new_tokens": 8},
    "penalty": {"repetition_penalty": 1.5},
    "no bigram twice": {"no_repeat_ngram": 2},
    "all": {"no_repeat_ngram": 3, "min_new_tokens": 4, "repetition_penalty": 1.2},
    "one token": {"max_new_tokens": 1},
    "two tokens": {"max_new_tokens": 2, "candidates": 4},
}


@pytest.mark.parametrize("seed", [0, 1, 2, 6, 7])
@pytest.mark.parametrize("settings", BEAMS.values(), ids=BEAMS)
def test_beam_search_equals_hugging_face(settings: dict[str, Any], seed: int) -> None:
    """Beam search gives the reference's sequences, in its order, with its scores."""
    compare(seed, Decoding(**{"max_new_tokens": 18, "beams": 4, "candidates": 2, **settings}))


@pytest.mark.parametrize("early", [False, "never"])
@pytest.mark.parametrize("penalty", [2.0, 1.0, 0.0, -0.5, -2.0])
def test_rows_are_left_as_hugging_face_leaves_them(early: Any, penalty: float) -> None:
    """The rule that ends a row's search is the reference's, over many scores and lengths."""
    from transformers import GenerationMixin

    decoding = Decoding(max_new_tokens=20, beams=4, early_stopping=early, length_penalty=penalty)
    generator = torch.Generator().manual_seed(3)
    decided: set[bool] = set()
    for length in (1, 4, 19):
        running = -4 * torch.rand(64, 4, generator=generator).cumsum(1)
        finished = -(6 * torch.rand(64, 4, generator=generator)).sort(1).values
        finished /= length**penalty
        finished[::5, 2:] = -torch.inf
        go_on = GenerationMixin._check_early_stop_heuristic(
            is_early_stop_heuristic_unsatisfied=torch.ones(64, 1, dtype=torch.bool),
            running_beam_scores=running,
            beam_scores=finished.clamp(min=-1e9),
            is_sent_finished=finished.isfinite(),
            cur_len=length + 1,
            max_length=21,
            decoder_prompt_len=1,
            early_stopping=early,
            length_penalty=penalty,
        )
        search = make_search(decoding, Tokens(EOS, PAD, START), torch.device("cpu"))
        assert isinstance(search, Beams)
        search.add([Ask(decoding)] * 64)
        search.running, search.finished.scores = running, finished
        search.age = torch.full_like(search.age, length)
        left = search.exhausted()
        assert left.tolist() == (~go_on[:, 0]).tolist()
        decided.update(left.tolist())
    assert decided == {True, False}


def any_decoding(random_: random.Random) -> Decoding:
    beams = random_.choice([1, 1, 2, 3, 4, 5, 8])
    longest = random_.randint(1, 26)
    return Decoding(
        max_new_tokens=longest,
        beams=beams,
        candidates=random_.randint(1, beams),
        length_penalty=random_.choice([1.0, 0.0, 0.5, 2.0, -1.0, round(random_.uniform(-2, 3), 2)]),
        early_stopping=random_.choice([True, False, "never"]),
        min_new_tokens=random_.choice([0, 0, random_.randint(0, longest)]),
        repetition_penalty=random_.choice([1.0, 1.0, round(random_.uniform(0.7, 2.0), 2)]),
        no_repeat_ngram=random_.choice([0, 0, 1, 2, 3, 4]),
    )


def test_sixty_random_settings_equal_hugging_face() -> None:
    """A sweep over all settings, models and batch sizes agrees, with answers of every length."""
    random_ = random.Random(20)
    lengths: set[int] = set()
    for _ in range(60):
        decoding = any_decoding(random_)
        lengths.update(compare(random_.randrange(10), decoding, rows=random_.randint(1, 5)))
    assert len(lengths) > 15


@pytest.mark.parametrize("beams", [1, 4])
def test_forbidden_tokens_equal_hugging_face(beams: int) -> None:
    """`allowed` acts as the reference's suppressed tokens."""
    for seed in range(3):
        compare(seed, Decoding(max_new_tokens=12, beams=beams), suppress_tokens=[5, 7, 11, EOS])


WARPS = {
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 3.0},
    "top-k": {"top_k": 5},
    "top-k beyond the vocabulary": {"top_k": 500},
    "top-p": {"top_p": 0.8},
    "top-p nothing": {"top_p": 0.0},
    "min-p": {"min_p": 0.1},
    "all": {"temperature": 1.7, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
}


@pytest.mark.parametrize("settings", WARPS.values(), ids=WARPS)
def test_warped_probabilities_equal_hugging_face(settings: dict[str, Any]) -> None:
    """The distribution of a draw is the reference's, processors and warpers in its order."""
    from transformers import GenerationConfig

    theirs, _ = pair(0)
    decoding = Decoding(
        sample=True, repetition_penalty=1.3, no_repeat_ngram=2, min_new_tokens=9, **settings
    )
    config = GenerationConfig(
        do_sample=True,
        repetition_penalty=1.3,
        no_repeat_ngram_size=2,
        min_new_tokens=9,
        **{"top_k": 0, **settings},
    )
    config._eos_token_tensor = torch.tensor([EOS])
    processors = theirs._get_logits_processor(config, input_ids_seq_length=1)
    generator = torch.Generator().manual_seed(0)
    history = torch.randint(0, 60, (16, 6), generator=generator)
    history[:, 4] = history[:, 1]
    history[:, 5] = history[:, 0]
    logits = 4 * torch.randn(16, 60, generator=generator)
    expected = processors(history, logits).softmax(-1)
    scores = Processor(decoding, EOS, None)(logits[:, None].clone(), history[:, None])
    torch.testing.assert_close(warp(scores, decoding)[:, 0].softmax(-1), expected)
