"""Decoder-only packs go to `peft` and come back with equal logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codeprompt.backbones.base import Source
from codeprompt.inject import Delta, Injection, collate
from codeprompt.pack import Pack, export_peft, import_peft
from codeprompt.template import render
from tests.peft_pairs import CLOSE, CODE, columns, differs, inputs, make, marked, quiet, theirs
from tests.tiny import tiny_llama

peft = pytest.importorskip("peft")
__all__ = ["quiet"]


@torch.no_grad()
def ours(pack: Pack, backbone: Any) -> Tensor:
    """Logits [1,T,V] of a pack on the code."""
    rendered = render(pack.template, {"code": CODE}, backbone.tokenizer, max_length=128)
    ids, slots = torch.tensor([rendered.ids]), torch.tensor([rendered.slots])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    injected = collate([pack.injection])
    hidden = backbone.token_states(backbone.encode(source, injected), source, injected)
    out: Tensor = backbone.logits(hidden)
    return out


def packs(backbone: Any) -> dict[str, Pack]:
    torch.manual_seed(0)
    linears = dict(backbone.named_modules())
    deltas = {}
    for rank, name in enumerate((*backbone.lora_targets, "model.layers.0.mlp.up_proj"), 2):
        down = torch.randn(rank, linears[name].in_features)
        deltas[name] = Delta(down, torch.randn(linears[name].out_features, rank))
    prefix = columns(backbone, "decoder", convention="past")
    return {
        "soft": make(Injection(slots=2 * torch.randn(4, 32)), backbone, "{soft:4}{code}"),
        "prefix": make(Injection(columns={"decoder": prefix}), backbone, method="prefix"),
        "lora": make(Injection(deltas=deltas), backbone, method="lora"),
    }


@pytest.mark.parametrize("way", ["soft", "prefix", "lora"])
def test_a_pack_exports_and_imports_with_equal_logits(tmp_path: Path, way: str) -> None:
    """Virtual tokens, past keys under grouped attention, and low-rank changes: both directions."""
    backbone = marked(tiny_llama())
    pack = packs(backbone)[way]
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", "Qwen2ForCausalLM")
    ids = inputs(backbone)
    with torch.no_grad():
        plain = base(input_ids=ids).logits
        module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
        found = module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    expected = ours(pack, backbone)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert differs(found[:, -1], plain[:, -1])
    back = import_peft(tmp_path / "out", backbone, task="summarize", template="{code}")
    torch.testing.assert_close(ours(back, backbone), expected, **CLOSE)
