"""Which number format answers: float32, bf16 or int8, by what the processor has."""

from __future__ import annotations

from typing import Any, Literal

from codeprompt.backbones.base import Backbone

Format = Literal["float32", "bf16", "int8"]
Precision = Literal["auto", "float32", "bf16", "int8"]


def choose(precision: Precision, backbone: Backbone) -> Format:
    """`auto` is float32: the format a pack was scored in."""
    return "float32" if precision == "auto" else precision


def serving(backbone: Backbone, precision: Format) -> Any:
    """The model that answers: the backbone itself in float32, else a serving copy of it."""
    if precision == "float32":
        return backbone
    from codeprompt.backbones.serving import prepare

    return prepare(backbone, precision=precision)
