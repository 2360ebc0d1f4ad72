"""Minimum Bayes risk: the formula by hand, and the same answer through `answer` and the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codeprompt.answer import Row, answer
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import generate
from codeprompt.consensus import agreed
from codeprompt.engine import Engine, Request
from codeprompt.errors import UsageError
from codeprompt.metrics.base import Item
from codeprompt.passes import passed
from codeprompt.registry import METRICS
from tests.tiny import tiny_t5
from tests.tuned import FIELDS, pack_of, prompt_of

UTILITY = "codexglue-sentence-bleu"
DRAWN = Decoding(max_new_tokens=8, sample=True, candidates=5, consensus=UTILITY)


def test_the_candidate_that_others_resemble_is_taken() -> None:
    """The mean utility against every other candidate, by a table of all pairs."""
    texts = ["opens a file", "returns the sum of values", "returns the sum of all values",
             "returns a sum of the values"]  # fmt: skip
    metric = METRICS.get(UTILITY)
    table = [[metric.score([Item(a, (b,))], bootstrap=0).value for b in texts] for a in texts]
    means = [sum(v for j, v in enumerate(row) if j != i) / 3 for i, row in enumerate(table)]
    assert agreed(texts, UTILITY) == means.index(max(means)) != 0
    assert agreed(["a b", "a b", "c d"], UTILITY) == 0


def test_answers_and_the_engine_agree_on_the_candidate() -> None:
    """What is drawn is drawn alike wherever it is asked; the score is the candidate's own."""
    backbone = tiny_t5()
    prompt = replace(prompt_of("soft", backbone, "summarize"), decoding=DRAWN)
    found = answer(backbone, [prompt], [Row(0, fields) for fields in FIELDS])
    tokenizer = prompt.plan.tokenizer
    for fields, one in zip(FIELDS, found, strict=True):
        p = passed(prompt.plan, prompt.injection, [prompt.plan.render(fields)])
        drawn = generate(
            backbone,
            backbone.remember(p.hidden[0], p.sources[0], p.injected),
            p.injected,
            DRAWN,
            eos=tokenizer.eos_id,
            pad=tokenizer.pad_id,
            start=backbone.start_id,
        )[0]
        assert len(drawn) == 5
        drawn.sort(key=lambda h: -h.score)
        texts = [tokenizer.decode(h.ids).strip() for h in drawn]
        best = agreed(texts, UTILITY)
        assert one.text == texts[best]
        assert one.score == pytest.approx(drawn[best].score, abs=1e-5)
    with Engine(backbone, precision="float32") as engine:
        engine.load(pack_of("soft", backbone, "summarize"), "soft")
        asked = [Request("soft", fields, DRAWN) for fields in FIELDS]
        assert [p.text for p in engine.predict(asked)] == [p.text for p in found]
        assert [engine.submit(r).result().text for r in asked] == [p.text for p in found]


def test_one_candidate_agrees_with_nobody() -> None:
    """The setting is checked with the others."""
    with pytest.raises(UsageError, match="`consensus` of one candidate"):
        Decoding(consensus=UTILITY)
    assert Decoding.from_json(DRAWN.as_json()) == DRAWN
