"""Encoder states that no trained part can change, computed once a row and kept.

Where the backbone is frozen, what lies below the first layer that a prompt reaches is the same at
every step: the whole encoder for a prompt of the decoder alone, the layers below m for one that
enters at layer m. Rows pass alone, so that their states do not depend on the batch they first
stood in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from codeprompt.backbones.base import WHOLE, Backbone, Source, Span
from codeprompt.inject import Injected, Injection
from codeprompt.plan import Plan, to_source
from codeprompt.types import Rendered

CACHE_BYTES = 1 << 29
"""States are kept up to this size."""


class States:
    """What is kept of some rows, renderings [N][M]."""

    def __init__(self, plan: Plan, rendered: Sequence[Sequence[Rendered]]) -> None:
        self.plan, self.rendered = plan, rendered
        self._kept: dict[tuple[int, int], Tensor] = {}
        tokens = sum(len(one.ids) for row in rendered for one in row)
        each = plan.backbone.d_model * plan.backbone.embedding.weight.element_size()
        self.fits = plan.backbone.family != "llama" and tokens * each <= CACHE_BYTES

    def span(self, injection: Injection) -> Span | None:
        """The layers whose states may be kept under a lowered prompt; None for none of them."""
        backbone = self.plan.backbone
        if not self.fits or backbone.training or not _untouched(injection, backbone):
            return None
        if injection.late is None:
            return WHOLE if backbone.family == "t5" else None
        return Span(stop=injection.late.layer) if injection.late.layer else None

    def encoded(
        self, rows: Sequence[int], injected: Injected, span: Span
    ) -> tuple[list[Source], list[Tensor]]:
        """As `encode_all` over some rows, from what is kept of that span."""
        model: Any = self.plan.backbone
        pad, device = model.tokenizer.pad_id, model.device
        sources, hidden = [], []
        for m in range(len(self.plan.mask_counts)):
            for i in rows:
                if (i, m) not in self._kept:
                    alone = to_source([self.rendered[i][m]], pad, device)
                    with torch.no_grad():
                        self._kept[i, m] = model.encode(alone, injected, span)[0]
            source = to_source([self.rendered[i][m] for i in rows], pad, device)
            each = [self._kept[i, m] for i in rows]
            states = torch.nn.utils.rnn.pad_sequence(each, batch_first=True)
            if span.stop is not None:
                states = model.encode(source, injected, Span(start=span.stop, states=states))
            sources.append(source)
            hidden.append(states)
        return sources, hidden


def _untouched(injection: Injection, backbone: Backbone) -> bool:
    """Whether nothing that is trained can change the states below where a late prompt enters."""
    prefix = "encoder." if backbone.family == "t5" else ""
    return (
        injection.slots is None
        and injection.gate is None
        and injection.added is None
        and "encoder" not in injection.columns
        and "encoder" not in injection.branches
        and not any(name.startswith(prefix) for name in injection.deltas)
        and not any(p.requires_grad for p in backbone.parameters())
    )
