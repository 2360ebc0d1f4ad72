"""What a run minimises: the loss of a prompt on rows that were rendered once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.forward import classify, encode_all, generation_loss, pad_labels
from codeprompt.inject import Injected, Injection, collate
from codeprompt.labelling import Lines, labelling_loss, lines_of, token_log_probs
from codeprompt.lines import read_lines
from codeprompt.plan import Plan, to_source
from codeprompt.types import Example, Rendered

CACHE_BYTES = 1 << 29
"""Encoder states are kept up to this size where no prompt can change them."""


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
    """The loss over some of the rows.

    Where the backbone is frozen and the prompt stays out of the encoder, encoder states are
    computed once a row, alone (so that they do not depend on the batch it first stood in).
    """

    def __init__(self, plan: Plan, rows: Rows) -> None:
        self.plan, self.rows = plan, rows
        self._states: dict[int, Tensor] = {}
        backbone = plan.backbone
        size = sum(rows.lengths) * backbone.d_model * backbone.embedding.weight.element_size()
        self._cacheable = backbone.family == "t5" and size <= CACHE_BYTES

    def weight(self, rows: Sequence[int]) -> int:
        """What the rows' losses are averaged over: target tokens, lines that were read, or rows."""
        if self.plan.kind == "generate":
            return sum(len(self.rows.targets[i]) for i in rows)
        if self.plan.kind == "label":
            return sum(len(self.rows.lines[i].numbers) for i in rows)
        return len(rows)

    def __call__(self, injection: Injection, rows: Sequence[int], total: int) -> Tensor:
        """Summed loss over `total`: the mean, where the parts of a batch are added up."""
        backbone = self.plan.backbone
        lowered = backbone.lower(injection)
        injected = collate([lowered])
        rendered = [self.rows.rendered[i] for i in rows]
        if self._cacheable and not backbone.training and _skips_encoder(lowered, backbone):
            sources, hidden = self._remembered(rows, injected)
        else:
            sources, hidden = encode_all(self.plan, rendered, injected)
        if self.plan.kind == "generate":
            labels = pad_labels([self.rows.targets[i] for i in rows], backbone.device)
            return generation_loss(backbone, sources[0], hidden[0], labels, injected, total)
        if self.plan.kind == "label":
            assert lowered.head is not None  # `prepare` gives every labelling method one
            lines = [self.rows.lines[i] for i in rows]
            log_probs = token_log_probs(
                backbone, lines, sources[0], hidden[0], injected, lowered.head
            )
            return labelling_loss(log_probs, lines, [self.rows.blamed[i] for i in rows]) / total
        found = classify(backbone, self.plan, rendered, sources, hidden, injected, lowered.head)
        wanted = torch.tensor([self.rows.labels[i] for i in rows], device=found.device)
        return F.nll_loss(found, wanted, reduction="sum") / total

    def _remembered(
        self, rows: Sequence[int], injected: Injected
    ) -> tuple[list[Source], list[Tensor]]:
        backbone: Any = self.plan.backbone
        pad = backbone.tokenizer.pad_id
        for i in rows:
            if i not in self._states:
                alone = to_source([self.rows.rendered[i][0]], pad, backbone.device)
                with torch.no_grad():
                    self._states[i] = backbone.encode(alone, injected)[0]
        source = to_source([self.rows.rendered[i][0] for i in rows], pad, backbone.device)
        padded = torch.nn.utils.rnn.pad_sequence([self._states[i] for i in rows], batch_first=True)
        return [source], [padded]


def _skips_encoder(injection: Injection, backbone: torch.nn.Module) -> bool:
    """Whether nothing that is trained can change the encoder's states."""
    return (
        injection.slots is None
        and "encoder" not in injection.columns
        and "encoder" not in injection.branches
        and not any(name.startswith("encoder.") for name in injection.deltas)
        and not any(p.requires_grad for p in backbone.parameters())
    )
