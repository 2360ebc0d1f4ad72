"""Conversion of pickles: tensors come through, code does not."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from codeprompt.backbones.checkpoint import load_tensors, t5_state
from codeprompt.backbones.convert import convert
from codeprompt.backbones.load import load_backbone
from codeprompt.errors import BackboneError
from tests.test_checkpoint import T5, t5_tensors, write_tokenizer
from tests.tiny import tiny_llama, write_checkpoint


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pickle-only checkpoint with tied tensors, as `torch.save` of a module writes it."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(T5))
    write_tokenizer(folder)
    tensors = t5_tensors()
    for name in ("encoder.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors["shared.weight"]
    tensors["a.view"] = tensors["shared.weight"][:3]
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def test_conversion_keeps_every_tensor(source: Path, tmp_path: Path) -> None:
    """Values are equal, tied copies are left out, the files beside the weights come along."""
    out = convert(str(source), tmp_path / "new" / "out")
    found = load_tensors(out)
    expected = t5_tensors()
    assert found.keys() == {*expected, "a.view"}
    assert all(torch.equal(found[k], v) for k, v in expected.items())
    assert torch.equal(found.pop("a.view"), expected["shared.weight"][:3])
    assert t5_state(found, T5).keys() == expected.keys()
    assert sorted(p.name for p in out.iterdir()) == [
        "config.json",
        "merges.txt",
        "model.safetensors",
        "vocab.json",
    ]
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    with pytest.raises(BackboneError, match="exists already"):
        convert(str(source), out)
    with pytest.raises(BackboneError, match="has safetensors weights already"):
        convert(str(out), tmp_path / "again")


def test_shards_of_pickles_become_one_file(source: Path, tmp_path: Path) -> None:
    """All shards are read."""
    tensors = t5_tensors()
    names = sorted(tensors)
    (source / "pytorch_model.bin").unlink()
    for i in range(2):
        part = {n: tensors[n] for n in names[i::2]}
        torch.save(part, source / f"pytorch_model-0000{i + 1}-of-00002.bin")
    assert load_tensors(convert(str(source), tmp_path / "out")).keys() == tensors.keys()


class Attack:
    """Reads as a call that writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.write_text, (self.path, "was run")


@pytest.mark.parametrize("form", ["zip", "bare"])
def test_a_malicious_pickle_is_refused_and_never_run(
    source: Path, tmp_path: Path, form: str
) -> None:
    """In the format of today and in that of old, the code inside does not run."""
    touched = tmp_path / "touched"
    weights = source / "pytorch_model.bin"
    if form == "zip":
        torch.save({"shared.weight": Attack(touched)}, weights)
        assert zipfile.is_zipfile(weights)
    else:
        weights.write_bytes(pickle.dumps(Attack(touched)))
    with pytest.raises(
        BackboneError, match=r"holds more than tensors and was not read.*Do not load this file"
    ):
        convert(str(source), tmp_path / "out")
    assert not touched.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]
    pickle.loads(pickle.dumps(Attack(touched)))
    assert touched.read_text() == "was run"


def test_a_cut_pickle_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    """Half a file gives an error and no folder."""
    weights = source / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin (is cut or broken|holds more)"):
        convert(str(source), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_what_cannot_be_converted(source: Path, tmp_path: Path) -> None:
    """No such folder, no pickle, another architecture: said before any process starts."""
    with pytest.raises(BackboneError, match=r"There is no folder \./nowhere"):
        convert("./nowhere", tmp_path / "out")
    (source / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BackboneError, match="another architecture"):
        convert(str(source), tmp_path / "out")
    (source / "config.json").write_text(json.dumps(T5))
    (source / "pytorch_model.bin").unlink()
    with pytest.raises(BackboneError, match="has no pickled weights to convert"):
        convert(str(source), tmp_path / "out")


def test_a_decoder_only_checkpoint_is_converted(tmp_path: Path) -> None:
    """A pickle of the Llama family with a tied head loads as the backbone it was."""
    first = tiny_llama(tmp_path / "first")
    folder = tmp_path / "pickled"
    write_checkpoint(first, folder)
    (folder / "model.safetensors").unlink()
    torch.save(first.state_dict(), folder / "pytorch_model.bin")
    out = convert(str(folder), tmp_path / "out")
    assert load_backbone(str(out)).hash == first.hash
