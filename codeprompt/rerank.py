"""Of several answers the one that also explains its source best: a noisy channel.

Yu et al. 2017 (The Neural Noisy Channel); Yee et al. 2019 (Simple and Effective Noisy Channel
Modeling for Neural Machine Translation): argmax_y log p(y|x)/|y| + w log p(x|y)/|x|. One frozen
backbone gives both: p(y|x) under the tuned prompt, as it was written, and p(x|y) without a prompt,
by the instruction of its own pre-training that asks for the source (a task's `channel`). So an
answer that would fit any function loses to one that only this function has. We differ: no language
model of the answers, whose prior a prompt tuned on them has, and only the source's first
`READ` tokens count, which is what the built-in backbone was taught to write.

Inspired by diverse chains of thought (Puerto et al. 2024, DCoT), for models that do not reason in
text: it is not their method. Cost: the candidates, and one pass over them a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.errors import UsageError
from codeprompt.plan import Plan, to_source
from codeprompt.template import render

READ = 48


def reranked(
    model: Any,
    plan: Plan,
    fields: Mapping[str, str],
    hypotheses: Sequence[Hypothesis],
    decoding: Decoding,
) -> Hypothesis:
    """The best of a row's candidates; of equals the likeliest. fields: the row's, with its code.

    model: the backbone or a serving copy of it. Raises `UsageError` where the plan has no channel.
    """
    order = sorted(hypotheses, key=lambda h: -h.score)
    texts = [plan.tokenizer.decode(h.ids).strip() for h in order]
    back = explained(model, plan, fields, texts)
    totals = [h.score + decoding.channel * b for h, b in zip(order, back, strict=True)]
    return order[max(range(len(order)), key=totals.__getitem__)]


@torch.no_grad()
def explained(
    model: Any, plan: Plan, fields: Mapping[str, str], answers: Sequence[str]
) -> list[float]:
    """Mean log-probability of the source's first `READ` tokens given each answer."""
    if plan.channel is None:
        raise UsageError(
            "The channel has no instruction on this backbone that asks for the source of an answer",
            do="Leave the channel's weight at 0",
        )
    tokenizer, limit = plan.tokenizer, min(plan.source_length, plan.backbone.max_length)
    rows = [
        render(plan.channel, {**fields, "answer": answer}, tokenizer, max_length=limit)
        for answer in answers
    ]
    source = to_source(rows, tokenizer.pad_id, model.device)
    code = torch.tensor(tokenizer.encode(fields.get("code", ""))[:READ], device=model.device)
    if not len(code):
        return [0.0] * len(rows)
    read = F.pad(code[:-1], (1, 0), value=plan.backbone.start_id).expand(len(rows), -1)
    states = model.decode(read, model.remember(model.encode(source), source))
    found = model.logits(states).float().log_softmax(-1)
    means: list[float] = found[:, torch.arange(len(code)), code].mean(-1).tolist()
    return means
