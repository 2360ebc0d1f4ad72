"""LoRA and IA3 go to `peft` and come from it with equal logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codeprompt.backbones.base import Backbone
from codeprompt.errors import PackError
from codeprompt.inject import Delta, Injection, collate
from codeprompt.pack import export_peft, import_peft
from codeprompt.pack.peft import CONFIG, MODEL
from tests.peft_pairs import (
    CLOSE,
    differs,
    exported_t5,
    inputs,
    low_rank,
    make,
    marked,
    ours_roberta,
    ours_t5,
    peft,
    peft_t5,
    quiet,  # noqa: F401 (a fixture)
    theirs,
    trained,
)
from tests.tiny import tiny_roberta, tiny_t5, write_checkpoint


def test_lora_exports_with_equal_logits(tmp_path: Path) -> None:
    """Ranks may differ from map to map; feed-forward maps go along."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    names = [*backbone.lora_targets, "decoder.block.0.layer.2.DenseReluDense.wo"]
    pack = make(low_rank(backbone, names, [2] * (len(names) - 2) + [3, 4]), backbone)
    found, plain = exported_t5(pack, backbone, tmp_path)
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)


@pytest.mark.parametrize(("head", "kind"), [(True, "RobertaForMaskedLM"), (False, "RobertaModel")])
def test_lora_exports_from_an_encoder(tmp_path: Path, head: bool, kind: str) -> None:
    """With the cloze head as no task type, without as FEATURE_EXTRACTION."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta(mask_head=head))
    names = [*backbone.lora_targets, *(["lm_head.dense"] if head else [])]
    pack = make(low_rank(backbone, names, [2] * len(names)), backbone)
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", kind)
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    hidden, _ = ours_roberta(pack, backbone)
    with torch.no_grad():
        found = module(input_ids=inputs(backbone))
        if head:
            everywhere = torch.arange(hidden.shape[0])[None]
            injected = collate([pack.injection])
            expected = backbone.mask_logits(hidden[None], everywhere, injected)  # type: ignore[operator]
            torch.testing.assert_close(found.logits, expected, **CLOSE)
        else:
            torch.testing.assert_close(found.last_hidden_state[0], hidden, **CLOSE)


@pytest.mark.parametrize("rslora", [False, True])
def test_lora_imports_with_equal_logits(tmp_path: Path, rslora: bool) -> None:
    """Alpha, ranks and their patterns fold into B."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    config = peft.LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=4,
        lora_alpha=6,
        target_modules=["q", "v", "wo"],
        rank_pattern={"wo": 2},
        alpha_pattern={"block.1.layer.0.SelfAttention.v": 3},
        use_rslora=rslora,
    )
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="{code}")
    torch.testing.assert_close(ours_t5(pack, backbone), peft_t5(module, inputs(backbone)), **CLOSE)


def test_lora_imports_to_an_encoder(tmp_path: Path) -> None:
    """The names of a model without a head are found under the checkpoint's own."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta())
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query", "dense"])
    write_checkpoint(backbone, tmp_path / "base")
    from transformers import RobertaModel

    base = RobertaModel.from_pretrained(tmp_path / "base", add_pooling_layer=False).eval()
    module = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    module.save_pretrained(tmp_path / "adapter")
    pack = import_peft(tmp_path / "adapter", backbone, task="defect", template="{code}{mask}")
    with torch.no_grad():
        found = module(input_ids=inputs(backbone, "{code}{mask}")).last_hidden_state[0]
    torch.testing.assert_close(ours_roberta(pack, backbone)[0], found, **CLOSE)


def scalings(backbone: Backbone) -> Injection:
    """IA3's three kinds, each unlike one."""
    known = dict(backbone.named_modules())

    def drawn(name: str, side: str) -> Tensor:
        return 1 + 0.5 * torch.randn(int(getattr(known[name], side)))

    deltas = {
        n: Delta(scale=drawn(n, "out_features")) for n in backbone.linear_maps("key", "value")
    }
    for name in backbone.linear_maps("feed-out"):
        deltas[name] = Delta(gain=drawn(name, "in_features"))
    return Injection(deltas=deltas)


def test_ia3_exports_with_equal_logits(tmp_path: Path) -> None:
    """Keys, values and what the feed-forward's output map reads; and it comes back the same."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    pack = make(scalings(backbone), backbone, method="ia3")
    found, plain = exported_t5(pack, backbone, tmp_path)
    torch.testing.assert_close(found, ours_t5(pack, backbone), **CLOSE)
    assert differs(found, plain)
    back = import_peft(tmp_path / "out", backbone)
    expected = pack.injection.tensors()
    assert back.card.method == "ia3" and back.injection.tensors().keys() == expected.keys()
    for name, tensor in back.injection.tensors().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize(("head", "kind"), [(True, "RobertaForMaskedLM"), (False, "RobertaModel")])
def test_ia3_exports_from_an_encoder(tmp_path: Path, head: bool, kind: str) -> None:
    """With biases, which a scaling of the output takes along."""
    torch.manual_seed(0)
    backbone = marked(tiny_roberta(mask_head=head))
    pack = make(scalings(backbone), backbone, method="ia3")
    export_peft(pack, backbone, tmp_path / "out")
    base = theirs(backbone, tmp_path / "base", kind)
    module = peft.PeftModel.from_pretrained(base, tmp_path / "out").eval()
    with torch.no_grad():
        found = module(input_ids=inputs(backbone), output_hidden_states=True).hidden_states[-1][0]
    torch.testing.assert_close(found, ours_roberta(pack, backbone)[0], **CLOSE)


def test_ia3_imports_with_equal_logits(tmp_path: Path) -> None:
    """peft's own choice of maps on T5; on RoBERTa it also scales what no pack does."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    config = peft.IA3Config(task_type="SEQ_2_SEQ_LM")
    module, folder = trained(backbone, tmp_path, "T5ForConditionalGeneration", config)
    pack = import_peft(folder, backbone, task="summarize", template="{code}")
    torch.testing.assert_close(ours_t5(pack, backbone), peft_t5(module, inputs(backbone)), **CLOSE)
    encoder = marked(tiny_roberta())
    config = peft.IA3Config(task_type="FEATURE_EXTRACTION")
    folder = trained(encoder, tmp_path / "encoder", "RobertaModel", config)[1]
    with pytest.raises(PackError, match=r"scales what '.*attention.output.dense' reads"):
        import_peft(folder, encoder, task="defect", template="{code}{mask}")


def test_ia3_that_peft_or_a_pack_cannot_express_is_refused(tmp_path: Path) -> None:
    """Both sides of one map, scalings beside low-rank changes, modules saved whole, bad shapes."""
    torch.manual_seed(0)
    backbone = marked(tiny_t5())
    own = scalings(backbone)
    wo = backbone.linear_maps("feed-out")[0]
    both = Delta(scale=torch.ones(32), gain=own.deltas[wo].gain)
    rank = Delta(torch.randn(2, 32), torch.randn(32, 2))
    key = backbone.linear_maps("key")[0]
    for reason, deltas in {
        "both what": {**own.deltas, wo: both},
        "low-rank changes and scalings": {**own.deltas, key: rank},
    }.items():
        pack = make(Injection(deltas=deltas), backbone, method="ia3")
        with pytest.raises(PackError, match=reason):
            export_peft(pack, backbone, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    out = export_peft(make(own, backbone, method="ia3"), backbone, tmp_path / "out")
    tensors = load_file(out / MODEL)
    first = next(iter(tensors))
    for reason, changed in {
        "has the shape": {**tensors, first: torch.ones(3, 3)},
        "changes 'lm_head.ia3_l'": {**tensors, "base_model.model.lm_head.ia3_l": torch.ones(5, 1)},
    }.items():
        save_file(changed, out / MODEL)
        with pytest.raises(PackError, match=reason):
            import_peft(out, backbone)
    config = json.loads((out / CONFIG).read_text())
    (out / CONFIG).write_text(json.dumps(config | {"modules_to_save": ["lm_head"]}))
    with pytest.raises(PackError, match="IA3 uses modules_to_save"):
        import_peft(out, backbone)
