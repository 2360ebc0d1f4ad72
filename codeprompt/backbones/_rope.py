"""Rotary positions: what a configuration says of them, and their angles.

Su et al. 2021 (RoFormer), section 3.2.2, with the scalings that checkpoints of code models carry:
`linear` (Chen et al. 2023), `llama3` (Llama 3.1) and `yarn` (Peng et al. 2023), each as Hugging
Face computes it: frequencies and angles in float32, whatever the pass computes in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
"""Kinds of scaling that are known, with what each must say."""
SCALED = ("llama3", "yarn")
"""Kinds that measure by the length the checkpoint was first trained at."""


def rope_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """One spelling for all: `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`.

    Raises `BackboneError` on a kind of scaling that this pass has not.
    """
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found = {key: value for key, value in said.items() if value is not None}
    kind = str(found.pop("type", "default"))
    kind = str(found.pop("rope_type", kind))
    if kind not in NEEDED:
        raise BackboneError(
            f"The checkpoint's rotary positions are scaled by '{kind}'",
            expected="one of: " + ", ".join(sorted(NEEDED)),
            do="Choose another checkpoint",
        )
    theta = config.get("rope_theta")
    found.setdefault("rope_theta", 10000.0 if theta is None else theta)
    partial = found.pop("partial_rotary_factor", config.get("partial_rotary_factor"))
    if partial not in (None, 1, 1.0):
        raise BackboneError(
            f"The checkpoint turns only {partial:.0%} of each head (partial_rotary_factor)",
            expected="whole heads, as Llama and Qwen2 turn them",
            do="Choose another checkpoint",
        )
    if kind in SCALED:
        first = config.get("original_max_position_embeddings")
        if first is not None:
            found["original_max_position_embeddings"] = first
        found.setdefault(
            "original_max_position_embeddings", config.get("max_position_embeddings", 2048)
        )
    wanted = ["rope_theta", *NEEDED[kind]]
    if wrong := [key for key in wanted if not _is_number(found.get(key))]:
        raise BackboneError(
            f"The scaling '{kind}' of the checkpoint's rotary positions does not say "
            f"{', '.join(wrong)}",
            expected="numbers above 0 in config.json",
        )
    return {"rope_type": kind, **found}


def frequencies(settings: Mapping[str, Any], size: int) -> tuple[Tensor, float]:
    """Frequencies [h/2] of heads of size h in float32, and what cosine and sine are scaled by.

    On the processor whatever the default device: a pass may be built on the meta device.
    """
    import torch

    base, kind = settings["rope_theta"], settings["rope_type"]
    line = base ** (torch.arange(0, size, 2, dtype=torch.float, device="cpu") / size)
    plain = 1.0 / line
    if kind == "linear":
        return plain / settings["factor"], 1.0
    if kind == "llama3":
        return _llama3(plain, settings), 1.0
    if kind == "yarn":
        return _yarn(line, settings, size)
    return plain, 1.0


def _llama3(plain: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Long waves are slowed by the factor, short ones stay, those between are mixed."""
    import torch

    factor, low = settings["factor"], settings["low_freq_factor"]
    high, length = settings["high_freq_factor"], settings["original_max_position_embeddings"]
    wave = 2 * math.pi / plain
    slowed = torch.where(wave > length / low, plain / factor, plain)
    smooth = (length / wave - low) / (high - low)
    mixed = (1 - smooth) * slowed / factor + smooth * slowed
    between = ~(wave < length / high) * ~(wave > length / low)
    return torch.where(between, mixed, slowed)


def _yarn(line: Tensor, settings: Mapping[str, Any], size: int) -> tuple[Tensor, float]:
    """Peng et al. 2023, section 3.2 (NTK-by-parts) and 3.4 (the scale of the logits)."""
    import torch

    factor, base = settings["factor"], settings["rope_theta"]
    length = settings["original_max_position_embeddings"]

    def place(turns: float) -> float:
        return size * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = place(settings.get("beta_fast") or 32)
    high = place(settings.get("beta_slow") or 1)
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    if low == high:
        high += 0.001
    ramp = torch.arange(size // 2, dtype=torch.float, device="cpu")
    ramp = ((ramp - low) / (high - low)).clamp(0, 1)
    found = 1.0 / (factor * line) * ramp + 1.0 / line * (1 - ramp)
    return found, _yarn_scale(settings)


def _yarn_scale(settings: Mapping[str, Any]) -> float:
    def scale(by: float = 1.0) -> float:
        factor = settings["factor"]
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    said = settings.get("attention_factor")
    if said is not None:
        return float(said)
    some, all_of_it = settings.get("mscale"), settings.get("mscale_all_dim")
    return scale(some) / scale(all_of_it) if some and all_of_it else scale()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
