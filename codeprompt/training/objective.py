"""What a run minimises: the loss of a prompt on rows that were rendered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.forward import generation_loss, pad_labels
from codeprompt.inject import Injection, collate
from codeprompt.labelling import Lines, labelling_loss, lines_of, token_log_probs
from codeprompt.lines import read_lines
from codeprompt.passes import Passed, mixed_loss, passed
from codeprompt.plan import Plan
from codeprompt.training.states import States
from codeprompt.types import Example, Rendered


@dataclass(frozen=True)
class Rows:
    """Training rows as tokens: targets where the task generates, labels where it classifies.

    lines, blamed: the lines of each row that were read, and those to blame, where it labels lines.
    """

    rendered: list[tuple[Rendered, ...]]
    targets: list[list[int]]
    labels: list[int]
    lines: list[Lines] = field(default_factory=list)
    blamed: list[set[int]] = field(default_factory=list)

    @staticmethod
    def of(plan: Plan, examples: Sequence[Example]) -> Rows:
        """Render every example once."""
        rendered = [plan.render(e.fields) for e in examples]
        if plan.kind == "generate":
            return Rows(rendered, [plan.target_ids(e.target) for e in examples], [])
        if plan.kind == "label":
            lines = [lines_of(row[0], plan.tokenizer) for row in rendered]
            return Rows(rendered, [], [], lines, [set(read_lines(e.target)) for e in examples])
        return Rows(rendered, [], [plan.labels.index(e.target) for e in examples])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row's source."""
        return [len(row[0].ids) for row in self.rendered]


class Objective:
    """The loss over some of the rows; what no prompt can change is computed once (`states.py`)."""

    def __init__(self, plan: Plan, rows: Rows) -> None:
        self.plan, self.rows = plan, rows
        self.states = States(plan, rows.rendered)

    def weight(self, rows: Sequence[int]) -> int:
        """What the rows' losses are averaged over: target tokens, lines that were read, or rows."""
        if self.plan.kind == "generate":
            return sum(len(self.rows.targets[i]) for i in rows)
        if self.plan.kind == "label":
            return sum(len(self.rows.lines[i].numbers) for i in rows)
        return len(rows)

    def __call__(self, injection: Injection, rows: Sequence[int], total: int) -> Tensor:
        """Summed loss over `total`: the mean, where the parts of a batch are added up."""
        lowered = self.plan.backbone.lower(injection)
        found = self.kept(lowered, rows) or passed(self.plan, lowered, self.rendered(rows))
        return self.loss(found, rows, total)

    def rendered(self, rows: Sequence[int]) -> list[tuple[Rendered, ...]]:
        """Some rows as they are read."""
        return [self.rows.rendered[i] for i in rows]

    def kept(self, lowered: Injection, rows: Sequence[int]) -> Passed | None:
        """The rows after the encoder, by states that were kept; None where none can be."""
        span = self.states.span(lowered)
        if span is None:
            return None
        injected = collate([lowered])
        sources, hidden = self.states.encoded(rows, injected, span)
        return Passed(self.rendered(rows), sources, hidden, injected, None, lowered)

    def loss(self, found: Passed, rows: Sequence[int], total: int) -> Tensor:
        """As `__call__`, of rows that have passed the encoder."""
        backbone, lowered = self.plan.backbone, found.injection
        loss = self._loss(found, rows, total)
        gate = lowered.gate
        if gate is None or not gate.balance:
            return loss
        source = found.sources[0]
        assert source.slots is not None  # a gate fills slots
        real = source.mask & (source.slots < 0)
        balance = gate.balance_loss(backbone.embedding(source.ids), real)
        return loss + gate.balance * balance * self.weight(rows) / total

    def _loss(self, found: Passed, rows: Sequence[int], total: int) -> Tensor:
        """Of sum_k a_k p_k where a gate learns the shares; else every member's own, averaged."""
        backbone, shares = self.plan.backbone, found.shares
        gate = found.injection.gate
        count = 1 if shares is None else shares.shape[1]
        mixed = shares is not None and gate is not None and gate.query is not None
        if self.plan.kind == "generate":
            labels = pad_labels([self.rows.targets[i] for i in rows], backbone.device)
            parts = (backbone, found.sources[0], found.hidden[0])
            if mixed and shares is not None:
                return mixed_loss(*parts, labels, found.injected, shares, total)
            labels = labels.repeat_interleave(count, 0)
            return generation_loss(*parts, labels, found.injected, total) / count
        if self.plan.kind == "label":
            head = found.injection.head
            assert head is not None  # `prepare` gives every labelling method one
            lines = [self.rows.lines[i] for i in rows]
            log_probs = token_log_probs(
                backbone, lines, found.sources[0], found.hidden[0], found.injected, head
            )
            return labelling_loss(log_probs, lines, [self.rows.blamed[i] for i in rows]) / total
        wanted = torch.tensor([self.rows.labels[i] for i in rows], device=found.hidden[0].device)
        scores = replace(found, shares=shares if mixed else None).label_scores(self.plan)
        own = wanted if mixed else wanted.repeat_interleave(count)
        return F.nll_loss(scores, own, reduction="sum") / (total if mixed else total * count)
