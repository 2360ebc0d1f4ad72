"""A tiny backbone, its Hugging Face module and the code that both are asked about, with `peft`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Backbone, Source
from codeprompt.inject import Columns, Delta, Injection, collate
from codeprompt.pack import Pack, export_peft, make_pack
from codeprompt.template import parse, render
from tests.tiny import write_checkpoint

peft = pytest.importorskip("peft")
CODE = "def add(first, second):\n    return first + second"
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Other libraries' warnings are theirs."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def marked(backbone: Backbone) -> Backbone:
    backbone.hash = backbone.hash or "ab" * 32
    return backbone


def bare(backbone: Backbone) -> Backbone:
    """The same backbone with a tokenizer that puts nothing before the input, as Google's T5."""
    backbone.tokenizer.prefix_ids = ()
    return backbone


def theirs(backbone: Backbone, folder: Path, kind: str) -> nn.Module:
    """The Hugging Face module of a tiny backbone."""
    import transformers

    write_checkpoint(backbone, folder)
    module: nn.Module = getattr(transformers, kind).from_pretrained(folder)
    return module.eval()


def make(injection: Injection, backbone: Backbone, template: str = "{code}", **more: Any) -> Pack:
    values: dict[str, Any] = {
        "name": "p",
        "task": "summarize",
        "method": "soft",
        "source_length": 128,
        "target_length": 8,
        **more,
    }
    return make_pack(injection=injection, backbone=backbone, template=parse(template), **values)


TARGET = torch.tensor([[0, 9, 17, 33, 5, 11]])


@torch.no_grad()
def ours_t5(pack: Pack, backbone: Any) -> Tensor:
    """Logits [1,U,V] of a pack on the code."""
    rendered = render(pack.template, {"code": CODE}, backbone.tokenizer, max_length=128)
    ids, slots = torch.tensor([rendered.ids]), torch.tensor([rendered.slots])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    injected = collate([pack.injection])
    memory = backbone.remember(backbone.encode(source, injected), source, injected)
    out: Tensor = backbone.logits(backbone.decode(TARGET, memory, injected))
    return out


@torch.no_grad()
def ours_roberta(pack: Pack, backbone: Any) -> tuple[Tensor, list[int]]:
    """Hidden states [T,d] of a pack on the code, and the slots."""
    rendered = render(pack.template, {"code": CODE}, backbone.tokenizer, max_length=128)
    ids, slots = torch.tensor([rendered.ids]), torch.tensor([rendered.slots])
    source = Source(ids, torch.ones_like(ids, dtype=torch.bool), slots)
    return backbone.encode(source, collate([pack.injection]))[0], list(rendered.slots)


def inputs(backbone: Backbone, template: str = "{code}", prefix: bool = True) -> Tensor:
    """What a user of peft feeds: [1,T]."""
    rendered = render(parse(template), {"code": CODE}, backbone.tokenizer, max_length=128)
    skip = 0 if prefix else len(backbone.tokenizer.prefix_ids)
    return torch.tensor([rendered.ids[skip:]])


@torch.no_grad()
def peft_t5(module: nn.Module, ids: Tensor) -> Tensor:
    module.eval()
    out: Tensor = module(
        input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=TARGET
    ).logits
    return out


def differs(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > 1e-2)


def columns(backbone: Backbone, site: str, length: int = 3, **more: Any) -> Columns:
    shape = backbone.sites[site]  # type: ignore[index]
    size = (shape.layers, shape.heads, length, shape.head_dim)
    return Columns(torch.randn(size), torch.randn(size), **more)


def low_rank(backbone: Backbone, names: list[str], ranks: list[int]) -> Injection:
    linears = dict(backbone.named_modules())
    deltas = {}
    for name, rank in zip(names, ranks, strict=True):
        rows, inner = linears[name].weight.shape  # type: ignore[union-attr, misc]
        deltas[name] = Delta(torch.randn(rank, inner), 0.2 * torch.randn(rows, rank))
    return Injection(deltas=deltas)


def trained(backbone: Backbone, tmp_path: Path, kind: str, config: Any) -> tuple[nn.Module, Path]:
    """A peft model with random parameters, saved as peft saves it."""
    base = theirs(backbone, tmp_path / "base", kind)
    module: Any = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                spread = 1.0 if "prompt" in name else 0.3
                parameter.copy_(spread * torch.randn_like(parameter))
    module.save_pretrained(tmp_path / "adapter")
    return module, tmp_path / "adapter"


def exported_t5(
    pack: Pack, backbone: Backbone, folder: Path, template: str = "{code}", prefix: bool = True
) -> tuple[Tensor, Tensor]:
    """Logits of peft with what a pack was exported to, and of the module without."""
    export_peft(pack, backbone, folder / "out")
    base = theirs(backbone, folder / "base", "T5ForConditionalGeneration")
    plain = peft_t5(base, inputs(backbone, template))
    module = peft.PeftModel.from_pretrained(base, folder / "out")
    return peft_t5(module, inputs(backbone, template, prefix=prefix)), plain
