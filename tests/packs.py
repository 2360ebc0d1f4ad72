"""Packs with every part and every field, on tiny backbones."""

from __future__ import annotations

from typing import Any

import torch

from codeprompt.backbones.base import Backbone
from codeprompt.inject import Branch, Columns, Delta, Head, Injection
from codeprompt.pack import Pack, make_pack
from codeprompt.template import parse
from codeprompt.verbalizers import Verbalizer
from tests.tiny import tiny_roberta, tiny_t5

HASH = "ab" * 32


def backbone_of(kind: str = "t5", seed: int = 0, mark: str = HASH) -> Backbone:
    backbone = tiny_t5(seed=seed) if kind == "t5" else tiny_roberta(seed=seed)
    backbone.hash = backbone.hash or mark
    return backbone


def make(injection: Injection | None = None, template: str = "{soft:3}{code}", **more: Any) -> Pack:
    """A pack with every field of its card filled."""
    torch.manual_seed(0)
    if injection is None:
        injection = Injection(slots=torch.randn(3, 32))
    values: dict[str, Any] = {
        "name": "defect soft",
        "task": "defect",
        "method": "soft",
        "settings": {"length": 3, "init": "vocabulary"},
        "verbalizer": Verbalizer.of({"clean": "good", "defective": ["bad", "code is bad"]}),
        "prior": (-0.5, -0.9),
        "positive": "defective",
        "data": {"where": "hub:x", "fingerprint": "f", "shots": 8, "rows": 16, "dev_rows": 4},
        "seed": 1,
        "seeds": (0, 1),
        "dev_scores": [{"seed": 0, "metric": "f1", "value": 50.0}],
        "scores": [
            {
                "metric": "f1",
                "value": 60.0,
                "n": 4,
                "signature": "f1|v1",
                "split": "dev",
                "interval": [40.0, 80.0],
                "parts": {"precision": 50.0},
            }
        ],
        "threshold": 0.5,
        "base_rate": 0.45,
        "decoding": {"beams": 1},
        "source_length": 64,
        "target_length": 2,
        "parameters": 96,
        "recipe": {"lr": 0.3, "epochs": 2},
        "licence": {"weights": "Apache-2.0", "data": "MIT"},
        "created": "2026-01-31",
        "backbone": backbone_of(),
        **more,
    }
    return make_pack(injection=injection, template=parse(template), **values)


def every_part() -> Injection:
    """All that an injection may hold beside weights, on the tiny T5."""
    torch.manual_seed(1)
    size = (2, 4, 3, 8)
    return Injection(
        slots=torch.randn(3, 32),
        columns={
            "encoder": Columns(torch.randn(size), torch.randn(size), -torch.rand(3)),
            "decoder": Columns(torch.randn(size), torch.randn(size), None, "past"),
        },
        layers={"decoder": torch.randn(2, 5, 32)},
        branches={"cross": Branch(torch.randn(size), torch.randn(size), torch.ones(2))},
        deltas={
            "encoder.block.0.layer.0.SelfAttention.q": Delta(torch.randn(2, 32), torch.randn(32, 2))
        },
        head=Head(torch.randn(2, 32), torch.zeros(2)),
    )


def same(a: Injection, b: Injection) -> bool:
    left, right = a.tensors(), b.tensors()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)
