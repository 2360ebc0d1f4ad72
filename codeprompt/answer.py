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
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.backbones.generation import Decoding, Hypothesis, generate
from codeprompt.errors import PackError
from codeprompt.forward import classify
from codeprompt.inject import Injected, Injection, collate
from codeprompt.labelling import labelled
from codeprompt.plan import Plan, to_source
from codeprompt.types import Prediction, Rendered

ROUND = 16
"""Rows are padded to multiples of this."""


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


@dataclass(frozen=True)
class Encoded:
    """Rows that have passed the encoder. rendered: [B][M], see `Plan.mask_counts`."""

    rendered: Sequence[Sequence[Rendered]]
    source: Source
    hidden: Tensor
    injected: Injected

    def select(self, rows: Sequence[int]) -> Encoded:
        """Some rows; all of them cost nothing."""
        if len(rows) == len(self.rendered):
            return self
        index = torch.tensor(list(rows), device=self.hidden.device)
        some = [self.rendered[row] for row in rows]
        source, injected = self.source.select(index), self.injected.select(index)
        return Encoded(some, source, self.hidden[index], injected)


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
    encoded = encode(model, prompts, [row.prompt for row in rows], rendered)
    out: list[Prediction | None] = [None] * len(rows)
    for number, prompt in enumerate(prompts):
        mine = [i for i, row in enumerate(rows) if row.prompt == number]
        if mine and prompt.plan.kind != "generate":
            found = sorted_out(model, prompt, encoded.select(mine))
            for i, prediction in zip(mine, found, strict=True):
                out[i] = prediction
    groups: dict[Decoding, list[int]] = {}
    for i, row in enumerate(rows):
        if prompts[row.prompt].plan.kind == "generate":
            groups.setdefault(prompts[row.prompt].decoding, []).append(i)
    for decoding, mine in groups.items():
        some = encoded.select(mine)
        tokenizer = prompts[0].plan.tokenizer
        found_ids = generate(
            model,
            model.remember(some.hidden, some.source, some.injected),
            some.injected,
            decoding,
            eos=tokenizer.eos_id,
            pad=tokenizer.pad_id,
            start=prompts[0].plan.backbone.start_id,
            should_stop=should_stop,
        )
        for i, hypotheses in zip(mine, found_ids, strict=True):
            out[i] = written(tokenizer, hypotheses[0])
    return [p for p in out if p is not None]


def encode(
    model: Any,
    prompts: Sequence[Prompt],
    index: Sequence[int],
    rendered: Sequence[Sequence[Rendered]],
) -> Encoded:
    """Rows of any prompts through the encoder together; index: each row's prompt in the list."""
    plan = prompts[0].plan
    injected = collate([p.injection for p in prompts], index)
    source = to_source([row[0] for row in rendered], plan.tokenizer.pad_id, plan.backbone.device)
    source = _rounded(source, plan)
    return Encoded(rendered, source, model.encode(source, injected), injected)


def _rounded(source: Source, plan: Plan) -> Source:
    """Padded to a width that comes again: torch keeps compiled products for every shape it saw."""
    length = source.ids.shape[1]
    more = min(-(-length // ROUND) * ROUND, max(plan.backbone.max_length, length)) - length
    slots = None if source.slots is None else F.pad(source.slots, (0, more), value=-1)
    ids = F.pad(source.ids, (0, more), value=plan.tokenizer.pad_id)
    return Source(ids, F.pad(source.mask, (0, more), value=False), slots)


def written(tokenizer: Any, hypothesis: Hypothesis) -> Prediction:
    """A generated answer as text."""
    return Prediction(tokenizer.decode(hypothesis.ids).strip(), hypothesis.score)


def sorted_out(model: Any, prompt: Prompt, encoded: Encoded) -> list[Prediction]:
    """One prompt's rows that need no step of a decoder: a label each, or one for every line."""
    if prompt.plan.kind == "classify":
        return classified(model, prompt, encoded)
    head, rendered = prompt.injection.head, encoded.rendered
    if head is None:
        raise PackError(
            "The pack labels lines and has no head to do it with",
            do="Restore it or tune it again",
        )
    return labelled(
        model, prompt.plan, rendered, encoded.source, encoded.hidden, encoded.injected, head
    )


def classified(model: Any, prompt: Prompt, encoded: Encoded) -> list[Prediction]:
    """One prompt's rows: the likeliest label of each, and the probabilities of all."""
    plan, injected = prompt.plan, encoded.injected
    sources, states = [encoded.source], [encoded.hidden]
    for m in range(1, len(plan.mask_counts)):  # label words of other lengths: a cloze each
        pad, device = plan.tokenizer.pad_id, encoded.hidden.device
        sources.append(to_source([row[m] for row in encoded.rendered], pad, device))
        states.append(model.encode(sources[-1], injected))
    head = prompt.injection.head
    found = classify(model, plan, encoded.rendered, sources, states, injected, head)
    out = []
    for row in found.exp().tolist():
        probabilities = dict(zip(plan.labels, row, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        score = probabilities[plan.positive] if plan.positive else probabilities[best]
        out.append(Prediction(best, score, probabilities))
    return out
