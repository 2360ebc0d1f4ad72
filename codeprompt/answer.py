"""Answer a mixed batch: rows of any prompts on one backbone, encoded together.

All rows pass the encoder in one batch whatever their task, method or prompt length; then the rows
that classify are scored prompt by prompt, and the rows that generate decode together, grouped by
decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.generation import Decoding, Hypothesis, generate
from codeprompt.forward import classify
from codeprompt.inject import Injected, Injection, collate
from codeprompt.plan import Plan, to_source
from codeprompt.types import Prediction, Rendered


@dataclass(frozen=True)
class Prompt:
    """A prompt ready to answer: its plan, its lowered injection, how it decodes."""

    plan: Plan
    injection: Injection = field(default_factory=Injection)
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True)
class Row:
    """One question: the prompt's index in the batch's list and the example's fields."""

    prompt: int
    fields: Mapping[str, str]


@torch.inference_mode()
def answer(
    model: Any,
    prompts: Sequence[Prompt],
    rows: Sequence[Row],
    should_stop: Callable[[], bool] | None = None,
) -> list[Prediction]:
    """Predictions in the order of the rows.

    model: the backbone or a serving copy of it, which all prompts were planned for.
    """
    if not rows:
        return []
    rendered = [prompts[row.prompt].plan.render(row.fields) for row in rows]
    index = [row.prompt for row in rows]
    injected = collate([p.injection for p in prompts], index)
    pad = prompts[0].plan.tokenizer.pad_id
    device = prompts[0].plan.backbone.device
    source = to_source([r[0] for r in rendered], pad, device)
    hidden = model.encode(source, injected)
    out: list[Prediction | None] = [None] * len(rows)
    for number, prompt in enumerate(prompts):
        mine = [i for i, row in enumerate(rows) if row.prompt == number]
        if mine and prompt.plan.kind == "classify":
            found = _classify(model, prompt, mine, rendered, source, hidden, injected)
            for i, prediction in zip(mine, found, strict=True):
                out[i] = prediction
    groups: dict[Decoding, list[int]] = {}
    for i, row in enumerate(rows):
        if prompts[row.prompt].plan.kind == "generate":
            groups.setdefault(prompts[row.prompt].decoding, []).append(i)
    for decoding, mine in groups.items():
        sub, states, some = _select(mine, len(rows), source, hidden, injected)
        tokenizer = prompts[0].plan.tokenizer
        found_ids = generate(
            model,
            model.remember(states, sub, some),
            some,
            decoding,
            eos=tokenizer.eos_id,
            pad=tokenizer.pad_id,
            start=prompts[0].plan.backbone.start_id,
            should_stop=should_stop,
        )
        for i, hypotheses in zip(mine, found_ids, strict=True):
            out[i] = _text(tokenizer, hypotheses[0])
    return [p for p in out if p is not None]


def _text(tokenizer: Any, hypothesis: Hypothesis) -> Prediction:
    return Prediction(tokenizer.decode(hypothesis.ids).strip(), hypothesis.score)


def _select(
    mine: list[int], total: int, source: Source, hidden: Tensor, injected: Injected
) -> tuple[Source, Tensor, Injected]:
    if len(mine) == total:
        return source, hidden, injected
    index = torch.tensor(mine, device=hidden.device)
    return source.select(index), hidden[index], injected.select(index)


def _classify(
    model: Any,
    prompt: Prompt,
    mine: list[int],
    rendered: Sequence[Sequence[Rendered]],
    source: Source,
    hidden: Tensor,
    injected: Injected,
) -> list[Prediction]:
    plan = prompt.plan
    sub, states, some = _select(mine, len(rendered), source, hidden, injected)
    own = [rendered[i] for i in mine]
    sources, all_states = [sub], [states]
    for m in range(1, len(plan.mask_counts)):  # label words of other lengths: a cloze each
        more = to_source([row[m] for row in own], plan.tokenizer.pad_id, states.device)
        sources.append(more)
        all_states.append(model.encode(more, some))
    found = classify(model, plan, own, sources, all_states, some, prompt.injection.head)
    out = []
    for row in found.exp().tolist():
        probabilities = dict(zip(plan.labels, row, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        score = probabilities[plan.positive] if plan.positive else probabilities[best]
        out.append(Prediction(best, score, probabilities))
    return out
