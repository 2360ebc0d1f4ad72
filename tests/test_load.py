"""From a name to a backbone: what is found is run exactly, what is unfit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codeprompt.backbones.base import Backbone, Source
from codeprompt.backbones.checkpoint import canonical_state
from codeprompt.backbones.load import fill, load_backbone, summary
from codeprompt.backbones.roberta import Roberta
from codeprompt.backbones.t5 import T5
from codeprompt.errors import BackboneError
from tests.tiny import tiny_roberta, tiny_t5, tokenizer_files, write_checkpoint


def answers(backbone: Backbone, text: str = "return first + second") -> Tensor:
    """Logits of one row: the cloze at the first position, or two steps of the decoder."""
    tokenizer = backbone.tokenizer
    ids = [*tokenizer.prefix_ids, *tokenizer.encode(text), *tokenizer.suffix_ids]
    source = Source(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
    with torch.no_grad():
        if isinstance(backbone, Roberta):
            return backbone.mask_logits(backbone.encode(source), torch.tensor([[0, 1]]))
        assert isinstance(backbone, T5)
        memory = backbone.remember(backbone.encode(source), source)
        return backbone.logits(backbone.decode(torch.tensor([[0, 5]]), memory))


def edit(folder: Path, **changes: Tensor | None) -> None:
    """Change tensors of a written checkpoint; None takes one away."""
    path = folder / "model.safetensors"
    tensors = {k: t.clone() for k, t in load_file(path).items()}
    for name, tensor in changes.items():
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("make", [tiny_t5, tiny_roberta])
def test_a_folder_loads_frozen_and_answers_as_written(make: Any, tmp_path: Path) -> None:
    """A written checkpoint comes back with the same answers, its tokenizer, no gradients."""
    before = make()
    after = load_backbone(str(write_checkpoint(before, tmp_path / "it")), allow_hub=False)
    torch.testing.assert_close(answers(after), answers(before), atol=0, rtol=0)
    assert type(after) is type(before) and after.name == str(tmp_path / "it")
    assert after.tokenizer.hash == before.tokenizer.hash
    assert not after.training and not any(p.requires_grad for p in after.parameters())
    assert not any(p.is_meta for p in after.parameters())
    assert len(after.hash) == 64 and after.hash == before.hash


def save_hugging_face(model: Any, kind: str, folder: Path) -> Path:
    model.save_pretrained(folder)
    for name, text in tokenizer_files(kind).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_what_transformers_saves_answers_the_same_t5(tied: bool, tmp_path: Path) -> None:
    """A T5 that transformers has written gives its logits, tied head or not."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    shape = {k: v for k, v in tiny_t5().tiny_config.items() if k != "architectures"}
    config = T5Config(**{**shape, "tie_word_embeddings": tied, "feed_forward_proj": "gated-gelu"})
    theirs = T5ForConditionalGeneration(config).eval()
    if not tied:
        theirs.lm_head.weight = torch.nn.Parameter(torch.randn(theirs.lm_head.weight.shape))
    ours = load_backbone(str(save_hugging_face(theirs, "t5", tmp_path)))
    ids = torch.tensor([[1, *ours.tokenizer.encode("return first + second"), 2]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, decoder_input_ids=torch.tensor([[0, 5]])).logits
    torch.testing.assert_close(answers(ours), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cloze", [True, False])
def test_what_transformers_saves_answers_the_same_roberta(cloze: bool, tmp_path: Path) -> None:
    """RobertaForMaskedLM and the bare RobertaModel are run exactly as transformers writes them."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    torch.manual_seed(0)
    shape = {k: v for k, v in tiny_roberta().tiny_config.items() if k != "architectures"}
    theirs = RobertaForMaskedLM(RobertaConfig(**shape, initializer_range=0.2)).eval()
    torch.nn.init.normal_(theirs.lm_head.bias)
    saved = theirs if cloze else theirs.roberta
    ours = load_backbone(str(save_hugging_face(saved, "roberta", tmp_path)))
    assert isinstance(ours, Roberta) and ours.has_mask_head is cloze
    ids = torch.tensor([[0, *ours.tokenizer.encode("return first + second"), 2]])
    with torch.no_grad():
        states = theirs.roberta(input_ids=ids).last_hidden_state
        source = Source(ids, torch.ones_like(ids, dtype=torch.bool))
        torch.testing.assert_close(ours.encode(source), states, atol=1e-4, rtol=1e-4)
        if cloze:
            expected = theirs(input_ids=ids).logits[:, :2]
            torch.testing.assert_close(answers(ours), expected, atol=1e-4, rtol=1e-4)


def test_the_head_is_tied_unless_the_checkpoint_brings_its_own(tmp_path: Path) -> None:
    """A stored copy of the embedding is tied again; a head that differs stays its own."""
    folder = write_checkpoint(tiny_t5(), tmp_path)
    shared = load_file(folder / "model.safetensors")["shared.weight"]
    for head, tied in ((None, True), (shared.clone(), True), (shared + 1, False)):
        edit(folder, **{"lm_head.weight": head})
        loaded = load_backbone(str(folder))
        assert isinstance(loaded, T5)
        assert (loaded.lm_head.weight is loaded.shared.weight) is tied
    torch.testing.assert_close(loaded.lm_head.weight.detach(), shared + 1)
    cloze = load_backbone(str(write_checkpoint(tiny_roberta(), tmp_path / "cloze")))
    assert isinstance(cloze, Roberta) and cloze.lm_head is not None
    assert cloze.lm_head.decoder.weight is cloze.embedding.weight
    assert cloze.lm_head.decoder.bias is cloze.lm_head.bias


def test_tensors_are_taken_as_they_lie_in_memory() -> None:
    """Tensors of the wanted dtype are not copied, and what was given is let go."""
    tiny = tiny_t5()
    state = canonical_state(tiny.state_dict(), tiny.tiny_config)
    places = {name: tensor.data_ptr() for name, tensor in state.items()}
    backbone = fill(lambda _: T5(tiny.config), state)
    assert not state
    for name, parameter in backbone.named_parameters():
        assert parameter.data_ptr() == places[name]


def test_dtype_is_the_callers_choice(tmp_path: Path) -> None:
    """A float16 checkpoint runs in float32 unless asked otherwise; the hash is the checkpoint's."""
    folder = write_checkpoint(tiny_roberta().half(), tmp_path)
    wide = load_backbone(str(folder))
    narrow = load_backbone(str(folder), dtype=torch.bfloat16)
    assert (wide.dtype, narrow.dtype) == (torch.float32, torch.bfloat16)
    assert wide.hash == narrow.hash
    assert torch.isfinite(answers(narrow)).all()


def test_summary_is_plain(tmp_path: Path) -> None:
    """The summary names family, size, shape, length, hash and dtype, and is JSON."""
    tiny = tiny_t5(tmp_path)
    told = json.loads(json.dumps(summary(tiny)))
    assert told == {
        "name": str(tmp_path),
        "family": "t5",
        "parameters": sum({p.data_ptr(): p.numel() for p in tiny.parameters()}.values()),
        "d_model": 32,
        "layers": {"encoder": 2, "decoder": 2},
        "max_length": 512,
        "hash": tiny.hash,
        "dtype": "float32",
    }


def test_unixcoder_names_its_mode(tmp_path: Path) -> None:
    """A vocabulary with `<encoder-only>` gives UniXcoder's prefix and its 1024 positions."""
    for backbone in (tiny_roberta(unixcoder=True), tiny_roberta(tmp_path, unixcoder=True)):
        ids = backbone.tokenizer.prefix_ids
        names = [backbone.tokenizer.decode([i], skip_special=False) for i in ids]
        assert names == ["<s>", "<encoder-only>", "</s>"]
        assert backbone.tokenizer.suffix_ids == (backbone.tokenizer.eos_id,)
        assert backbone.max_length == 1024
    assert tiny_roberta().max_length == 512


def test_another_family_is_refused(tmp_path: Path) -> None:
    """A BERT checkpoint is named, with the families that work."""
    folder = write_checkpoint(tiny_roberta(), tmp_path, model_type="bert")
    with pytest.raises(BackboneError, match=r"model_type 'bert'.*CodeBERT.*CodeT5"):
        load_backbone(str(folder))


def test_a_config_without_its_sizes_is_refused(tmp_path: Path) -> None:
    """A config.json that lacks a size says which."""
    for make, key in ((tiny_t5, "num_layers"), (tiny_roberta, "hidden_size")):
        folder = write_checkpoint(make(), tmp_path / key)
        config = json.loads((folder / "config.json").read_text())
        del config[key]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(BackboneError, match=rf"config.json does not say {key}"):
            load_backbone(str(folder))


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    """A feed-forward layer that no pass has is named."""
    folder = write_checkpoint(tiny_t5(), tmp_path, feed_forward_proj="gated-mish")
    with pytest.raises(BackboneError, match=r"activation is 'mish'.*gelu_new"):
        load_backbone(str(folder))


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    """A checkpoint that lacks tensors names them."""
    folder = write_checkpoint(tiny_t5(), tmp_path)
    leaf = "encoder.block.1.layer.0.SelfAttention.q.weight"
    edit(folder, **{leaf: None})
    with pytest.raises(BackboneError, match=rf"do not fit its config.json; missing: {leaf}"):
        load_backbone(str(folder))


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    """A tensor of another shape is named with the shape found and the one expected."""
    folder = write_checkpoint(tiny_roberta(), tmp_path, intermediate_size=48)
    with pytest.raises(
        BackboneError,
        match=r"intermediate.dense.weight \(expected \[48, 32\], found \[64, 32\]\)",
    ):
        load_backbone(str(folder))


def test_layers_the_config_does_not_describe_are_refused(tmp_path: Path) -> None:
    """A checkpoint with more layers than its config.json is not run in part."""
    folder = write_checkpoint(tiny_roberta(), tmp_path, num_hidden_layers=1)
    with pytest.raises(BackboneError, match=r"unexpected: roberta.encoder.layer.1"):
        load_backbone(str(folder))


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    """A tokenizer with more tokens than the embedding has rows does not belong to it."""
    folder = write_checkpoint(tiny_roberta(), tmp_path)
    for name, text in tokenizer_files("t5").items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(BackboneError, match=r"tokenizer of .* has 427 tokens, its embedding 327"):
        load_backbone(str(folder))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    """A safetensors file that ends too early says so, and never as a traceback."""
    folder = write_checkpoint(tiny_t5(), tmp_path)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for size in (0, 5, 200, len(whole) - 1):
        path.unlink()
        path.write_bytes(whole[:size])
        with pytest.raises(BackboneError, match=r"model.safetensors"):
            load_backbone(str(folder))


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A folder that has only pytorch_model.bin is pointed to `codeprompt convert`."""
    folder = write_checkpoint(tiny_roberta(), tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"codeprompt convert"):
        load_backbone(str(folder))


def test_an_unknown_name_is_refused_offline(tmp_path: Path, monkeypatch: Any) -> None:
    """A hub id that is not on this machine is not looked for where the hub is not allowed."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(BackboneError, match=r"nobody/nothing"):
        load_backbone("nobody/nothing", allow_hub=False)


def test_a_card_gets_no_users_name_from_a_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` takes its place, and leads there again."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_checkpoint(tiny_t5(), tmp_path / "models" / "it")
    loaded = load_backbone(str(tmp_path / "models" / "it"), allow_hub=False)
    assert loaded.name == "~/models/it"
    assert load_backbone(loaded.name, allow_hub=False).hash == loaded.hash
