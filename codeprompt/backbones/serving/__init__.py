"""The serving copy of a backbone: fused maps, caches laid out once, float32, bf16 or int8 weights.

`prepare(backbone, "int8")` gives a copy with the backbone's own interface for answering: `encode`,
`remember`, `decode`, `begin`, `step`, `logits`, `mask_logits`, all of them under any `Injected`.
The backbone's own pass stays the reference: the float32 copy equals it within 1e-4.
"""

from __future__ import annotations

from pathlib import Path
from typing import overload

import torch

from codeprompt.backbones._pages import Pages
from codeprompt.backbones.base import Backbone
from codeprompt.backbones.llama import Llama
from codeprompt.backbones.roberta import Roberta
from codeprompt.backbones.serving.kernels import Precision, int8_kernel
from codeprompt.backbones.serving.linear import Maker
from codeprompt.backbones.serving.llama import ServingLlama
from codeprompt.backbones.serving.roberta import ServingRoberta
from codeprompt.backbones.serving.store import Store
from codeprompt.backbones.serving.t5 import ServingT5
from codeprompt.backbones.t5 import T5
from codeprompt.errors import BackboneError
from codeprompt.processor import bf16_is_fast

__all__ = ["Precision", "ServingLlama", "ServingRoberta", "ServingT5", "int8_kernel", "prepare"]


@overload
def prepare(
    backbone: T5,
    precision: Precision = ...,
    *,
    free: bool = ...,
    cache: Path | None = ...,
    trace: bool = ...,
) -> ServingT5: ...
@overload
def prepare(
    backbone: Roberta,
    precision: Precision = ...,
    *,
    free: bool = ...,
    cache: Path | None = ...,
    trace: bool = ...,
) -> ServingRoberta: ...
@overload
def prepare(
    backbone: Llama,
    precision: Precision = ...,
    *,
    free: bool = ...,
    cache: Path | None = ...,
    trace: bool = ...,
) -> ServingLlama: ...
@overload
def prepare(
    backbone: Backbone,
    precision: Precision = ...,
    *,
    free: bool = ...,
    cache: Path | None = ...,
    trace: bool = ...,
) -> ServingT5 | ServingRoberta | ServingLlama: ...
@torch.inference_mode(False)
@torch.no_grad()
def prepare(
    backbone: Backbone,
    precision: Precision = "int8",
    *,
    free: bool = False,
    cache: Path | None = None,
    trace: bool = True,
) -> ServingT5 | ServingRoberta | ServingLlama:
    """A copy of a backbone that answers fast.

    precision: of the linear maps; prompts, norms and softmaxes are float32 beside int8. Where the
        processor or the installed torch has no fit int8 product, the copy is bf16 or float32
        instead: its `precision` says what it became.
    free: let the backbone's own weights go map by map, so that memory never holds both; the
        backbone cannot be used afterwards, embeddings excepted.
    cache: a folder that keeps int8 weights between runs, by the backbone's hash (tensors only,
        verified when read).
    trace: record the decoder's step at the first answer of each kind of prompt (about 0.1 s).

    Raises `BackboneError` where the family has no serving pass, or int8 is asked for off the CPU.
    """
    if precision == "int8":
        if backbone.device.type != "cpu":
            raise BackboneError(
                f"int8 is for processors, and the backbone is on {backbone.device}",
                do="Use bf16 there",
            )
        if int8_kernel() is None:
            precision = _next_best()
    kept = cache is not None and precision == "int8" and bool(backbone.hash)
    store = Store(cache, backbone.hash) if cache is not None and kept else None
    maker = Maker(backbone, precision, free=free, store=store, trace=trace)
    copy: ServingT5 | ServingRoberta | ServingLlama
    if isinstance(backbone, T5):
        copy = ServingT5(backbone, maker)
    elif isinstance(backbone, Roberta):
        copy = ServingRoberta(backbone, maker)
    elif isinstance(backbone, Llama):
        copy = ServingLlama(backbone, maker)
    else:
        raise BackboneError(
            f"There is no serving pass for the family of {backbone.name or 'this backbone'}",
            expected="a T5, RoBERTa or Llama backbone",
        )
    if maker.pages is not None and precision != "float32" and maker.read:
        _let_go(backbone, maker.pages)
    return copy


def _let_go(backbone: Backbone, pages: Pages) -> None:
    """Tensors of their own for what is left, so that the mapped checkpoint need not stay.

    Where int8 weights came from the cache, few of its pages were read, and it may.
    """
    for parameter in backbone.parameters():
        parameter.data = pages.moved(parameter.data)


def _next_best() -> Precision:
    return "bf16" if bf16_is_fast() else "float32"
