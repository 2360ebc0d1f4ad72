"""Which number format answers: int8, bf16 or float32, by what the processor has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from codeprompt.backbones.base import Backbone

Format = Literal["float32", "bf16", "int8"]
Precision = Literal["auto", "float32", "bf16", "int8"]
WORTH_KEEPING = 4_000_000
"""Parameters from which making int8 weights anew costs more than reading them."""


def choose(precision: Precision, device: torch.device) -> Format:
    """`auto` is the fastest that the device does well: int8, else bf16, else float32."""
    if precision != "auto":
        return precision
    from codeprompt.backbones.serving.kernels import int8_kernel
    from codeprompt.processor import bf16_is_fast

    if device.type == "cpu":
        if int8_kernel() is not None:
            return "int8"
        return "bf16" if bf16_is_fast() else "float32"
    import torch

    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if fast else "float32"


def serving(backbone: Backbone, precision: Format, *, free: bool = False) -> Any:
    """The copy of a backbone that answers.

    free: nothing else needs its weights, so that they go as the copy's are made. int8 weights of a
    backbone with a hash are kept in the user's cache folder (tensors only).
    """
    from codeprompt.backbones.serving import prepare

    count = sum(p.numel() for p in backbone.parameters())
    cache = cache_folder() if backbone.hash and count >= WORTH_KEEPING else None
    return prepare(backbone, precision, free=free, cache=cache)


def cache_folder() -> Path:
    """Where int8 weights are kept between runs; all of it can be made again."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("codeprompt")) / "serving"
