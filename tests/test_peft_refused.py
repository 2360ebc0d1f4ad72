"""What a pack or `peft` cannot express is refused with the reason, and so is a broken file."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import Branch, Head, Injection
from codeprompt.pack import export_peft, import_peft
from codeprompt.pack.peft import CONFIG, MODEL, NOTE
from codeprompt.pack.store import seal
from tests.peft_pairs import (
    columns,
    make,
    marked,
    peft,
    quiet,  # noqa: F401 (a fixture)
    trained,
)
from tests.tiny import tiny_roberta, tiny_t5


def t5_injections(backbone: Backbone) -> dict[str, tuple[Injection, str, str]]:
    shape = backbone.sites["decoder"]
    size = (shape.layers, shape.heads, 2, shape.head_dim)
    past = columns(backbone, "decoder", convention="past")
    slots = torch.randn(2, 32)
    scaled = replace(past, log_scale=torch.full((3,), -1.0))
    branch = Branch(torch.randn(size), torch.randn(size), torch.ones(shape.layers))
    layers = torch.randn(shape.layers, 2, 32)
    return {
        "two ways": (Injection(slots=slots, columns={"decoder": past}), "{soft:2}{code}", "and"),
        "kept": (Injection(columns={"decoder": columns(backbone, "decoder")}), "{code}", "move"),
        "encoder": (
            Injection(columns={"encoder": columns(backbone, "encoder", convention="past")}),
            "{code}",
            "columns in encoder",
        ),
        "own columns": (Injection(columns={"decoder": past}), "{code}", "reads the same columns"),
        "scaled": (Injection(columns={"decoder": scaled}), "{code}", "scaled"),
        "layers": (Injection(layers={"decoder": layers}), "{code}", "VPT-deep"),
        "branch": (Injection(branches={"decoder": branch}), "{code}", "parallel branch"),
        "nothing": (Injection(), "{code}", "hard prompt"),
        "slots behind": (Injection(slots=slots), "{code}{soft:2}", r"after \{code\}"),
        "slots apart": (Injection(slots=slots), "{soft:1}{code}{soft:1}", r"after \{code\}"),
        "weights": (
            Injection(weights={"shared.weight": backbone.embedding.weight}),
            "{code}",
            "no adapter",
        ),
    }


@pytest.mark.parametrize("case", list(t5_injections(tiny_t5())))
def test_what_peft_cannot_express_is_refused(tmp_path: Path, case: str) -> None:
    """At export, with the reason, and nothing is written."""
    backbone = marked(tiny_t5())
    injection, template, reason = t5_injections(backbone)[case]
    pack = make(injection, backbone, template)
    with pytest.raises(PackError, match=reason):
        export_peft(pack, backbone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_linear_head_is_refused(tmp_path: Path) -> None:
    """A classifier of transformers has two layers."""
    backbone = marked(tiny_roberta())
    head = Head(torch.randn(2, 32), torch.zeros(2))
    pack = make(
        Injection(slots=torch.randn(2, 32), head=head),
        backbone,
        "{soft:2}{code}",
        head="linear",
        labels=("clean", "defective"),
        task="defect",
    )
    with pytest.raises(PackError, match="soft slots and a linear head, which peft cannot"):
        export_peft(pack, backbone, tmp_path / "out")


def test_an_export_overwrites_only_its_own(tmp_path: Path) -> None:
    """A folder with anything else in it is left alone."""
    backbone = marked(tiny_t5())
    pack = make(Injection(slots=torch.randn(2, 32)), backbone, "{soft:2}{code}")
    out = export_peft(pack, backbone, tmp_path / "out")
    export_peft(pack, backbone, out)
    (out / "mine.txt").write_text("x")
    with pytest.raises(PackError, match="no peft checkpoint of ours"):
        export_peft(pack, backbone, out)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good checkpoint of each kind, on the same tiny T5."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))
    out: dict[str, Path] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, config in {
            "prefix": peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2),
            "lora": peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"]),
        }.items():
            place = tmp_path_factory.mktemp(kind)
            out[kind] = trained(backbone, place, "T5ForConditionalGeneration", config)[1]
    return out


CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "another kind": ("lora", {"peft_type": "VERA"}, "is a VERA checkpoint"),
    "dora": ("lora", {"use_dora": True}, "uses use_dora"),
    "pissa": ("lora", {"init_lora_weights": "pissa"}, "changed the backbone's own weights"),
    "biases": ("lora", {"bias": "all"}, "trains biases too"),
    "saved modules": ("lora", {"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "expression": ("lora", {"alpha_pattern": {".*q": 3}}, "the expression"),
    "causal": ("prefix", {"task_type": "CAUSAL_LM"}, "was trained as CAUSAL_LM"),
    "one stack": ("prefix", {"num_transformer_submodules": 1}, "cannot run on"),
    "no length": ("prefix", {"num_virtual_tokens": None}, "num_virtual_tokens = None"),
    "other heads": ("prefix", {"num_attention_heads": 2}, "of 2 heads"),
    "fewer layers": ("prefix", {"num_layers": 2}, "for 2 layers"),
    "ill-typed": ("prefix", {"num_layers": "three"}, r"Expected `int \| null`.*num_layers"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_checkpoint_that_a_pack_cannot_express_is_refused(
    tmp_path: Path, adapters: dict[str, Path], case: str
) -> None:
    """With the reason, from its configuration."""
    kind, changes, reason = CONFIGS[case]
    folder = tmp_path / "adapter"
    shutil.copytree(adapters[kind], folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))
    with pytest.raises(PackError, match=reason):
        import_peft(folder, backbone, task="summarize", template="{code}")


def test_broken_checkpoints_are_refused(tmp_path: Path, adapters: dict[str, Path]) -> None:
    """Missing, cut, a pickle, with tensors that no pack has, or with slots in the template."""
    backbone = marked(tiny_t5(num_layers=3, num_decoder_layers=3))

    def copy(name: str, kind: str = "lora") -> Path:
        return Path(shutil.copytree(adapters[kind], tmp_path / name))

    def refused(folder: Path, reason: str, template: str = "{code}") -> None:
        with pytest.raises(PackError, match=reason):
            import_peft(folder, backbone, task="summarize", template=template)

    refused(tmp_path / "nowhere", "lacks adapter_config.json")
    cut = copy("cut")
    (cut / MODEL).write_bytes((cut / MODEL).read_bytes()[:-100])
    refused(cut, "is cut or no safetensors file")
    pickled = copy("pickled")
    (pickled / MODEL).rename(pickled / "adapter_model.bin")
    refused(pickled, "a pickle, which may run code")
    head = copy("head")
    tensors = load_file(head / MODEL)
    more = {"base_model.model.lm_head.lora_A.weight": torch.zeros(2, 32)}
    save_file(tensors | more, head / MODEL)
    refused(head, "changes 'lm_head.lora_A.weight', which a pack on")
    save_file({k: v for k, v in tensors.items() if "lora_A" in k}, head / MODEL)
    refused(head, "not a whole pair A, B")
    save_file({k: v * torch.nan for k, v in tensors.items()}, head / MODEL)
    refused(head, "not finite")
    refused(adapters["lora"], "The template has 3 soft slots", "{soft:3}{code}")
    refused(copy("none"), "soft slots", "{soft}{code}")
    with pytest.raises(PackError, match="does not say what it is for"):
        import_peft(adapters["lora"], backbone)


def test_an_export_for_another_backbone_is_refused(tmp_path: Path) -> None:
    """The note names the hash of the backbone."""
    backbone = marked(tiny_t5())
    pack = make(Injection(slots=torch.randn(2, 32)), backbone, "{soft:2}{code}")
    out = export_peft(pack, backbone, tmp_path / "out")
    assert (out / NOTE).exists()
    other = tiny_t5(seed=1)
    other.hash = "cd" * 32
    with pytest.raises(PackError, match="exported for another backbone"):
        import_peft(out, other)
    with pytest.raises(PackError, match="was made for"):
        export_peft(seal(pack.card, pack.injection), other, tmp_path / "other")
