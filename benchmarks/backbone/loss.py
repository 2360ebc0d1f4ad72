"""The T5's loss: teacher-forced cross-entropy by the product's own pass."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from benchmarks.backbone.fused import PLAIN, cross_entropy
from benchmarks.backbone.objectives import Batch
from benchmarks.backbone.tokenizer import PAD
from codeprompt.backbones.base import Source
from codeprompt.backbones.t5 import T5


def loss_of(
    model: T5, batch: Batch, entropy: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> Tensor:
    """Mean cross-entropy over the batch's target tokens."""
    source = Source(batch.source.to(model.device), batch.mask.to(model.device))
    memory = model.remember(model.encode(source, PLAIN), source, PLAIN)
    labels = batch.labels.to(model.device)
    inputs = F.pad(labels[:, :-1].clamp(min=0), (1, 0), value=PAD)
    hidden = model.decode(inputs, memory, PLAIN)
    real = labels >= 0
    return entropy(model.logits(hidden[real]), labels[real])
