"""Checkpoints: what is found, what is read, what is refused and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from codeprompt.backbones import checkpoint
from codeprompt.backbones.checkpoint import (
    hash_folder,
    hash_tensors,
    load_tensors,
    read_config,
    resolve,
)
from codeprompt.errors import BackboneError

T5 = {
    "model_type": "t5",
    "vocab_size": 40,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 2,
    "num_heads": 2,
}
Make = Callable[..., Path]


def t5_tensors() -> dict[str, torch.Tensor]:
    """Random weights of the shape `T5`."""
    from codeprompt.backbones._state import t5_shapes

    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(s, generator=generator) for k, s in t5_shapes(T5).items()}


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE without merges."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "<mask>", *map(chr, range(97, 123))]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(name: str = "model", config: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(T5 if config is None else config))
        write_tokenizer(folder)
        save_file(t5_tensors(), folder / "model.safetensors")
        return folder

    return build


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and an empty hub cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_itself(make: Make) -> None:
    """A path leads to its folder, and nothing asks the hub."""
    folder = make()
    assert resolve(str(folder)) == folder.resolve()
    with pytest.raises(BackboneError, match=r"config\.json is a file\. Expected a folder"):
        resolve(str(folder / "config.json"))
    with pytest.raises(BackboneError, match="There is no folder /nowhere/at/all"):
        resolve("/nowhere/at/all")
    with pytest.raises(BackboneError, match="no hub is asked here"):
        resolve("org/name", allow_hub=False)


def test_builtin_is_the_newest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`builtin` follows the numbers, not the alphabet; an unknown one lists those there are."""
    for name in ("builtin-2", "builtin-10", "builtin-x"):
        (tmp_path / "builtin" / name).mkdir(parents=True)
    monkeypatch.setattr(checkpoint, "files", lambda package: tmp_path)
    assert resolve("builtin").name == "builtin-10"
    assert resolve("builtin-2").name == "builtin-2"
    assert list(checkpoint.builtins()) == ["builtin-2", "builtin-10"]
    with pytest.raises(BackboneError, match=r"'builtin-3'. Expected one of: builtin, builtin-2, b"):
        resolve("builtin-3")


def test_an_unknown_id_without_a_network(offline: Path) -> None:
    """Says that neither folder, cache nor hub has it, and what to do."""
    with pytest.raises(
        BackboneError, match=r"org/name is neither a folder here nor in the local cache.*Connect"
    ):
        resolve("org/name")


def test_a_cached_snapshot_needs_no_network(offline: Path, make: Make) -> None:
    """What the hub's library has fetched before is used as it is; so is a revision of it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = offline / "models--org--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    shutil.move(make(), root / "snapshots" / commit)
    assert resolve("org/name") == root / "snapshots" / commit
    assert resolve(f"org/name@{commit}") == root / "snapshots" / commit
    (root / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(
        BackboneError, match=r"codeprompt convert org/name --out DIR|cannot be reach"
    ):
        resolve("org/name")


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (
            "RepositoryNotFoundError",
            "org/nmae is neither a folder here nor a checkpoint on the hub",
        ),
        ("GatedRepoError", "asks for its terms to be accepted"),
        ("RevisionNotFoundError", "has no revision 'v9'"),
    ],
)
def test_what_the_hub_answers(
    error: str, match: str, monkeypatch: pytest.MonkeyPatch, offline: Path
) -> None:
    """Each refusal of the hub has its own sentence."""
    import huggingface_hub

    def answer(repo: str, *, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        kind = getattr(huggingface_hub.errors, error)
        raise kind.__new__(kind)  # its constructor wants the response of one HTTP library

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    with pytest.raises(BackboneError, match=match):
        resolve("org/nmae@v9")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, r"has no config\.json"),
        ("{", r"config\.json cannot be read"),
        ("[]", "another architecture.*model_type None"),
        (
            '{"model_type": "gpt2"}',
            "model_type 'gpt2'. Expected .* or roberta .RoBERTa family: CodeBERT",
        ),
        ('{"model_type": "t5", "d_model": 8}', "does not say vocab_size, d_kv, d_ff, num_layers"),
    ],
)
def test_unusable_configurations(make: Make, text: str | None, match: str) -> None:
    """Missing, broken or of another family: each is said."""
    path = make() / "config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BackboneError, match=match):
        read_config(path.parent)


def test_tensors_come_back_as_stored(make: Make) -> None:
    """Names, values and dtypes are the file's."""
    folder = make()
    expected = {k: v.half() if "wo" in k else v for k, v in t5_tensors().items()}
    save_file(expected, folder / "model.safetensors")
    found = load_tensors(folder)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in expected.items())


def shard(folder: Path) -> None:
    """Turn the one file into two with an index."""
    tensors = load_tensors(folder)
    names = sorted(tensors)
    weight_map = {}
    for i in range(2):
        part = names[i::2]
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({n: tensors[n].clone() for n in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_joined(make: Make) -> None:
    """An index with its shards gives the same tensors, and the folder the same hash."""
    whole, parts = make("whole"), make("parts")
    shard(parts)
    assert hash_tensors(load_tensors(parts)) == hash_tensors(load_tensors(whole))
    assert hash_folder(parts) == hash_folder(whole)


def test_faults_of_shards(make: Make) -> None:
    """A missing shard, a tensor no shard holds, and a name that leads out of the folder."""
    folder = make()
    shard(folder)
    index = folder / "model.safetensors.index.json"
    known = json.loads(index.read_text())
    lost = {"weight_map": known["weight_map"] | {"x.weight": "model-00001-of-00002.safetensors"}}
    index.write_text(json.dumps(lost))
    with pytest.raises(
        BackboneError, match=r"names 1 tensors that no file holds, such as x\.weight"
    ):
        load_tensors(folder)
    index.write_text(json.dumps({"weight_map": {"x.weight": "../model.safetensors"}}))
    with pytest.raises(BackboneError, match="names a file outside its folder"):
        load_tensors(folder)
    index.write_text(json.dumps(known))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"model-00002-of-00002\.safetensors is missing"):
        load_tensors(folder)
    index.write_text("{}")
    with pytest.raises(BackboneError, match=r"index\.json cannot be read"):
        load_tensors(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_a_cut_file_is_refused(make: Make, keep: int) -> None:
    """Wherever the file ends too soon."""
    path = make() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BackboneError, match=r"model\.safetensors is cut or broken.*Fetch"):
        load_tensors(path.parent)


def test_folders_without_safetensors(make: Make) -> None:
    """A pickle is refused with the way out; other formats and no weights are named."""
    folder = make()
    weights = folder / "model.safetensors"
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="only as a pickle") as caught:
        load_tensors(folder)
    assert caught.value.do == f"codeprompt convert {folder} --out DIR"
    (folder / "pytorch_model.bin").rename(folder / "tf_model.h5")
    with pytest.raises(BackboneError, match=r"only as tf_model\.h5"):
        load_tensors(folder)
    (folder / "tf_model.h5").unlink()
    with pytest.raises(BackboneError, match="has no weights"):
        load_tensors(folder)


def test_the_hash_is_over_content_alone() -> None:
    """Order and memory layout do not count; names, shapes, dtypes and every value do."""
    a = {"x": torch.arange(6.0).reshape(2, 3), "y": torch.tensor(1.0)}
    same = {"y": torch.tensor(1.0), "x": torch.arange(6.0).reshape(2, 3).t().contiguous().t()}
    assert hash_tensors(a) == hash_tensors(same)
    others = [
        {"x": a["x"].reshape(3, 2), "y": a["y"]},
        {"z": a["x"], "y": a["y"]},
        {"x": a["x"].bfloat16(), "y": a["y"]},
        {"x": a["x"], "y": torch.tensor(1.0 + 2**-20)},
        {"x": a["x"]},
    ]
    hashes = {hash_tensors(t) for t in (a, *others)}
    assert len(hashes) == 6


def test_the_folders_hash_names_the_backbone(make: Make) -> None:
    """Weights, switches and tokenizer count; what changes no result does not."""
    folder = make("a")
    first = hash_folder(folder)
    config = {**T5, "transformers_version": "9", "dropout_rate": 0.3, "feed_forward_proj": "relu"}
    assert hash_folder(make("b", config)) == first
    assert hash_folder(make("c", {**T5, "relative_attention_max_distance": 64})) != first
    other = make("d")
    tensors = t5_tensors()
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, other / "model.safetensors")
    assert hash_folder(other) == first
    tensors["decoder.final_layer_norm.weight"][0] += 1
    save_file(tensors, other / "model.safetensors")
    assert hash_folder(other) != first
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    vocab = json.loads((folder / "vocab.json").read_text()) | {"ab": 31}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    assert hash_folder(folder) != first


def test_the_hash_is_remembered(make: Make, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look reads no weights; without a cache folder it works all the same."""
    folder = make()
    first = hash_folder(folder)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "load_tensors", lambda folder: pytest.fail("read again"))
        assert hash_folder(folder) == first
    shutil.rmtree(cache)
    cache.write_text("a file where the folder should be")
    assert hash_folder(folder) == first
