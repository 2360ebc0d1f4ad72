"""How one prompt's rows are rendered on one backbone: template, label words, lengths.

The same plan serves training, evaluation and the engine, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from codeprompt.backbones.base import Backbone, Source
from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import BackboneError, TemplateError
from codeprompt.template import Template, render
from codeprompt.types import Kind, Rendered
from codeprompt.verbalizers import Verbalizer, candidates


@dataclass(frozen=True)
class Plan:
    """A resolved template on a backbone.

    verbalizer: None where the task generates or a linear head classifies.
    prior: log-prior of each label on a content-free input (calibration); None for none.
    threshold: from which probability on a line is told, where lines are labelled.
    channel: asks for the source of an `{answer}`, where the backbone knows such an instruction.
    """

    backbone: Backbone
    template: Template
    kind: Kind
    source_length: int
    target_length: int
    labels: tuple[str, ...] = ()
    positive: str | None = None
    verbalizer: Verbalizer | None = None
    prior: tuple[float, ...] | None = None
    threshold: float = 0.5
    channel: Template | None = None

    def __post_init__(self) -> None:
        if self.kind == "generate" and self.backbone.family == "roberta":
            raise BackboneError(
                f"'{self.backbone.name}' is an encoder and cannot write text",
                expected="a backbone that writes (builtin, CodeT5, CodeT5+, Qwen2.5-Coder)",
                do="Choose another --backbone",
            )
        if self.backbone.family == "roberta" and self.verbalizer is not None:
            self._check_cloze()

    def _check_cloze(self) -> None:
        """An encoder says its label words at a mask, and needs a head for that."""
        if not self.template.masks:
            raise TemplateError(
                f"The template '{self.template}' has no {{mask}}, where an encoder says its "
                "label words",
                expected="a template such as 'The code {code} is {mask}.'",
                do="Add {mask}, or classify with --head linear",
            )
        if not getattr(self.backbone, "has_mask_head", True):
            raise BackboneError(
                f"A cloze on a checkpoint without a mask head: {self.backbone.name} has no lm_head",
                expected="a checkpoint trained with masked language modelling",
                do="Use --head linear, or a backbone with the head, such as "
                "microsoft/codebert-base-mlm",
            )

    @cached_property
    def words(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """(label index, token ids) of every label word."""
        if self.verbalizer is None:
            return ()
        return tuple(
            (label, tuple(ids)) for label, ids in candidates(self.verbalizer, self.tokenizer)
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The backbone's."""
        return self.backbone.tokenizer

    @cached_property
    def mask_counts(self) -> tuple[int, ...]:
        """How many masks each rendering of a row has: a cloze on an encoder needs one a length."""
        if self.backbone.family == "roberta" and self.template.masks and self.words:
            return tuple(sorted({len(ids) for _, ids in self.words}))
        return (1,)

    def render(self, fields: Mapping[str, str]) -> tuple[Rendered, ...]:
        """One rendering of the row for each of `mask_counts`."""
        limit = min(self.source_length, self.backbone.max_length)
        return tuple(
            render(self.template, fields, self.tokenizer, max_length=limit, mask_count=count)
            for count in self.mask_counts
        )

    def target_ids(self, text: str) -> list[int]:
        """Token ids of a reference with its end token; the end is never cut off."""
        return [*self.tokenizer.encode(text)[: self.target_length - 1], self.tokenizer.eos_id]


def to_source(rows: Sequence[Rendered], pad_id: int, device: torch.device | None = None) -> Source:
    """Pad rendered rows to one Source [B,T]."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    slots = torch.full((len(rows), width), -1, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        size = len(row.ids)
        ids[index, :size] = torch.tensor(row.ids, dtype=torch.long)
        slots[index, :size] = torch.tensor(row.slots, dtype=torch.long)
        mask[index, :size] = True
    has_slots = bool((slots >= 0).any())
    return Source(ids.to(device), mask.to(device), slots.to(device) if has_slots else None)
