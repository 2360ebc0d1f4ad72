"""Reranking: the candidate that is likely and explains its source, by the formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from codeprompt.answer import Row, answer
from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.engine import Engine, Request
from codeprompt.errors import PackError, UsageError
from codeprompt.rerank import READ, explained, reranked
from codeprompt.template import parse
from tests.tiny import tiny_t5
from tests.tuned import FIELDS, pack_of, prompt_of

WIDE = Decoding(max_new_tokens=8, beams=5, candidates=5, channel=4.0)
CHANNEL = parse("Write {language}: {answer}")


def test_how_well_an_answer_explains_its_source() -> None:
    """The mean log-probability of the code's first tokens, token by token through the decoder."""
    backbone = tiny_t5().double()
    plan = replace(prompt_of("soft", backbone, "summarize").plan, channel=CHANNEL)
    fields = {**FIELDS[2], "code": FIELDS[2]["code"] * 3}
    found = explained(backbone, plan, fields, ["sums values", "opens a file of bytes"])
    code = plan.tokenizer.encode(fields["code"])[:READ]
    assert len(code) == READ
    for text, mean in zip(["sums values", "opens a file of bytes"], found, strict=True):
        ids = plan.tokenizer.encode(f"Write java: {text}")
        whole = [*plan.tokenizer.prefix_ids, *ids, *plan.tokenizer.suffix_ids]
        source = Source(torch.tensor([whole]), torch.ones(1, len(whole), dtype=torch.bool))
        memory = backbone.remember(backbone.encode(source), source)
        total = 0.0
        for place, token in enumerate(code):
            read = torch.tensor([[backbone.start_id, *code[:place]]])
            states = backbone.decode(read, memory)
            total += float(backbone.logits(states)[0, -1].log_softmax(-1)[token])
        assert mean == pytest.approx(total / READ, abs=1e-5)


def test_the_best_by_both_likelihoods_is_taken() -> None:
    """score + w * channel; of a weight near zero the likeliest, of a large one the explainer."""
    backbone = tiny_t5()
    plan = replace(prompt_of("soft", backbone, "summarize").plan, channel=CHANNEL)
    texts = ["sums values", "opens a file", "returns the list"]
    back = explained(backbone, plan, FIELDS[2], texts)
    worst = min(range(3), key=back.__getitem__)  # the likeliest explains the source worst
    asked = [
        Hypothesis(tuple(plan.tokenizer.encode(t)), -1.0 if i == worst else -1.5, True)
        for i, t in enumerate(texts)
    ]
    for weight in (1e-6, 0.5, 1e6):
        best = reranked(backbone, plan, FIELDS[2], asked, replace(WIDE, channel=weight))
        totals = [h.score + weight * b for h, b in zip(asked, back, strict=True)]
        assert best is asked[max(range(3), key=totals.__getitem__)]
    assert reranked(backbone, plan, FIELDS[2], asked, replace(WIDE, channel=1e-6)) is asked[worst]
    assert (
        reranked(backbone, plan, FIELDS[2], asked, replace(WIDE, channel=1e6)) is not asked[worst]
    )


def test_answers_and_the_engine_agree_on_the_candidate() -> None:
    """Bulk and queue choose alike, in a batch or alone; an answer's score stays its own."""
    backbone = tiny_t5()
    prompt = replace(prompt_of("soft", backbone, "summarize"), decoding=WIDE)
    prompt = replace(prompt, plan=replace(prompt.plan, channel=CHANNEL))
    found = answer(backbone, [prompt], [Row(0, fields) for fields in FIELDS])
    plain = replace(prompt, decoding=replace(WIDE, channel=0.0))
    first = answer(backbone, [plain], [Row(0, fields) for fields in FIELDS])
    assert [p.text for p in found] != [p.text for p in first]
    assert all(p.score <= q.score for p, q in zip(found, first, strict=True))
    with Engine(backbone, precision="float32") as engine:
        engine.load(pack_of("soft", backbone, "summarize"), "soft")
        asked = [Request("soft", fields, WIDE) for fields in FIELDS]
        assert [p.text for p in engine.predict(asked)] == [p.text for p in found]
        assert [engine.submit(r).result().text for r in asked] == [p.text for p in found]
        other = Request("soft", {**FIELDS[0], "language": "go"}, WIDE)
        assert engine.render_key(asked[0]) != engine.render_key(other)


def test_what_cannot_be_reranked_is_refused() -> None:
    """One candidate, two choosers, a task without a channel."""
    with pytest.raises(UsageError, match="`channel` of one candidate"):
        Decoding(channel=0.5)
    with pytest.raises(UsageError, match="both choose"):
        replace(WIDE, consensus="chrf")
    with pytest.raises(UsageError, match="`channel` is -1"):
        replace(WIDE, channel=-1)
    backbone = tiny_t5()
    pack = pack_of("soft", backbone, "translate", decoding=WIDE)
    with (
        Engine(backbone, precision="float32") as engine,
        pytest.raises(PackError, match="'translate' has none on the t5 family"),
    ):
        engine.load(pack, "soft")
    plan = prompt_of("soft", backbone, "translate").plan
    with pytest.raises(UsageError, match="no instruction on this backbone"):
        explained(backbone, plan, FIELDS[0], ["x"])
