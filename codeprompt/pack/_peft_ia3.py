"""IA3 from and to `peft`, in the manner of `_peft_ways`.

What peft 0.21 does: `ia3_l` is [out,1] where a map's output is scaled and [1,in] where, as one of
`feedforward_modules`, its input is. A bias is inside the scaled output, as here. Its own choice of
maps for RoBERTa scales what the attention's output map reads too (`output.dense` names both), which
packs do not: they scale the input of the feed-forward's output map alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import Delta, Injection
from codeprompt.pack._peft_ways import PREFIX, Exported, inner_name, outer_name

IA3_NAME = re.compile(r"(?:base_model\.model\.)?(?P<name>.+)\.ia3_l")
DO = "Train it with target_modules and feedforward_modules that name the feed-forward's output map"


def export_ia3(injection: Injection, backbone: Backbone) -> Exported:
    """Scalings as `ia3_l`. Raises `PackError` where one map has them on both sides."""
    tensors: dict[str, Tensor] = {}
    scaled: list[str] = []
    fed: list[str] = []
    for name, delta in injection.deltas.items():
        if delta.scale is not None and delta.gain is not None:
            raise PackError(
                f"The pack scales both what '{name}' reads and what it gives, and peft scales "
                "one of them",
                expected="one scaling a map",
            )
        path = outer_name(name, backbone)
        if delta.gain is not None:
            fed.append(path)
            tensors[f"{PREFIX}{path}.ia3_l"] = delta.gain.float()[None]
        elif delta.scale is not None:
            scaled.append(path)
            tensors[f"{PREFIX}{path}.ia3_l"] = delta.scale.float()[:, None]
    return Exported(
        tensors,
        {
            "peft_type": "IA3",
            "target_modules": sorted(scaled + fed),
            "feedforward_modules": sorted(fed),
            "fan_in_fan_out": False,
        },
    )


def import_ia3(tensors: Mapping[str, Tensor], backbone: Backbone) -> Injection:
    """`ia3_l` as scalings. Raises `PackError` where a pack cannot express one."""
    gains = set(backbone.linear_maps("feed-out"))
    deltas: dict[str, Delta] = {}
    for key, tensor in tensors.items():
        match = IA3_NAME.fullmatch(key)
        name = inner_name(match["name"], backbone) if match else None
        if name is None:
            raise PackError(
                f"The checkpoint changes '{key.removeprefix(PREFIX)}', which a pack on "
                f"{backbone.name} cannot express",
                expected="scalings of the linear maps inside its layers, and no more",
            )
        if tensor.dim() != 2 or 1 not in tensor.shape:
            raise PackError(
                f"The checkpoint's scaling of '{name}' has the shape {list(tensor.shape)}",
                expected="[out, 1], or [1, in] for a feed-forward map",
            )
        if tensor.shape[0] != 1:
            deltas[name] = Delta(scale=tensor.flatten().float())
        elif name in gains:
            deltas[name] = Delta(gain=tensor.flatten().float())
        else:
            raise PackError(
                f"The checkpoint scales what '{name}' reads, which a pack on {backbone.name} "
                "cannot express",
                expected="scaled inputs of a feed-forward's output map alone",
                do=DO,
            )
    return Injection(deltas=deltas)
