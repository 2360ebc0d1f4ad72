"""Checkpoints: where a name leads, and what is read there. Safetensors only, never a pickle."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.backbones._identity import SWITCHES, hash_folder, hash_tensors, identity
from codeprompt.backbones._state import (
    canonical_state,
    has_mask_head,
    roberta_state,
    t5_state,
)
from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SUPPORTED",
    "builtins",
    "canonical_state",
    "has_mask_head",
    "hash_folder",
    "hash_tensors",
    "identity",
    "load_tensors",
    "newest_builtin",
    "read_config",
    "resolve",
    "roberta_state",
    "t5_state",
]

SUPPORTED = {
    "roberta": "RoBERTa family: CodeBERT, GraphCodeBERT, UniXcoder, builtin-encoder",
    "t5": "T5 family: CodeT5, CodeT5+ (220m, 770m), builtin",
}
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
"""What is read beside the weights."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
OTHERS = ("*.h5", "*.msgpack", "*.onnx", "*.gguf")
_BUILTIN = re.compile(r"builtin(?P<encoder>-encoder)?(-(?P<number>\d+))?")
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[\w./-]+))?")


def resolve(name: str, *, allow_hub: bool = True) -> Path:
    """The folder that a backbone's name stands for.

    name: `builtin` (the newest that ships with the package), `builtin-encoder` (the newest that
        answers clozes), one of either by its number (`builtin-2`), a folder, or a hub id,
        with `@REVISION` where one is wanted. A hub id already in the local cache is taken from
        there without asking the network; `HF_HUB_OFFLINE` and `HF_HOME` work as everywhere.

    Raises `BackboneError` where there is no such checkpoint or it cannot be fetched.
    """
    if _BUILTIN.fullmatch(name):
        return _builtin(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise BackboneError(
            f"{name} is a file", expected="a folder with config.json and model.safetensors"
        )
    found = _HUB_ID.fullmatch(name)
    if not found:
        raise BackboneError(
            f"There is no folder {name}",
            expected="builtin, a folder with config.json and model.safetensors, or a hub id such "
            "as Salesforce/codet5-base",
        )
    if not allow_hub:
        raise BackboneError(
            f"There is no folder {name}, and no hub is asked here", do="Give a folder or builtin"
        )
    return _from_hub(name, found["id"], found["revision"])


def builtins() -> dict[str, Path]:
    """Backbones that ship with the package: encoder-decoders, then encoders, oldest first."""
    root = Path(str(files("codeprompt"))) / "builtin"
    found = [(_BUILTIN.fullmatch(p.name), p) for p in root.glob("builtin-*") if p.is_dir()]
    numbered = [
        (bool(match["encoder"]), int(match["number"]), path)
        for match, path in found
        if match and match["number"]
    ]
    return {path.name: path for _, _, path in sorted(numbered)}


def newest_builtin(name: str = "builtin") -> str | None:
    """The exact name behind `builtin` or `builtin-encoder`; None where none of them ships."""
    found = [one for one in builtins() if one.rpartition("-")[0] == name]
    return found[-1] if found else None


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`. Raises `BackboneError` where it is missing, broken or of another family."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackboneError(
            f"{folder} has no config.json", expected="a Hugging Face checkpoint folder"
        ) from None
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in SUPPORTED:
        raise BackboneError(
            f"{folder} is of another architecture: its config.json says model_type {kind!r}",
            expected=" or ".join(f"{k} ({what})" for k, what in sorted(SUPPORTED.items())),
        )
    needed = [k for k, v in SWITCHES[kind].items() if v is None and k != "num_decoder_layers"]
    if missing := [key for key in needed if not isinstance(config.get(key), int)]:
        raise BackboneError(f"{path} does not say {', '.join(missing)}", expected="whole numbers")
    return dict(config)


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """The checkpoint's tensors under its own names, from one safetensors file or from shards.

    Raises `BackboneError` where weights are missing, cut, or pickled.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wanted = _weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for path in sorted(set(wanted.values())):
        try:
            tensors.update(load_file(path))
        except FileNotFoundError:
            raise BackboneError(
                f"{path} is missing, which {INDEX} names", do="Fetch the checkpoint again"
            ) from None
        except (SafetensorError, OSError, ValueError) as error:
            raise BackboneError(
                f"{path} is cut or broken: {error}", do="Fetch the checkpoint again"
            ) from error
    if lost := sorted(name for name in wanted if name and name not in tensors):
        raise BackboneError(
            f"{folder}: {INDEX} names {len(lost)} tensors that no file holds, such as {lost[0]}",
            do="Fetch the checkpoint again",
        )
    return tensors


def _weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name to file; the name is empty where one file holds all."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return {"": single}
    if not index.is_file():
        raise _no_safetensors(folder)
    try:
        names = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(f"{index} cannot be read: {error}") from error
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise BackboneError(f"{index} names a file outside its folder: {name!r}")
    return {tensor: folder / name for tensor, name in names.items()}


def _no_safetensors(folder: Path) -> BackboneError:
    if pickles := [p.name for pattern in PICKLES for p in sorted(folder.glob(pattern))]:
        return BackboneError(
            f"{folder} holds its weights only as a pickle ({pickles[0]}), which can run any code",
            expected=SINGLE,
            do=f"codeprompt convert {folder} --out DIR",
        )
    if others := [p.name for pattern in OTHERS for p in sorted(folder.glob(pattern))]:
        return BackboneError(
            f"{folder} holds its weights only as {others[0]}",
            expected=SINGLE,
            do="Save them again with transformers, from PyTorch",
        )
    return BackboneError(f"{folder} has no weights", expected=f"{SINGLE} or {INDEX}")


def _builtin(name: str) -> Path:
    known = builtins()
    exact = newest_builtin(name) or name
    if exact in known:
        return known[exact]
    roles = [role for role in ("builtin", "builtin-encoder") if newest_builtin(role)]
    raise BackboneError(
        f"This installation has no backbone '{name}'",
        expected="one of: " + ", ".join([*roles, *known]) if known else "",
        do="Install a release that has it, or give a folder or a hub id",
    )


def _from_hub(name: str, repo: str, revision: str | None) -> Path:
    patterns = [*SIDE_FILES, SINGLE, INDEX, "model-*.safetensors"]
    cached = _cached(repo, revision, patterns)
    if cached is not None and (cached / "config.json").is_file() and _has_safetensors(cached):
        return cached
    folder = hub_snapshot(repo, revision, patterns)
    if not _has_safetensors(folder):
        raise BackboneError(
            f"{name} has no safetensors weights, and a pickle can run any code",
            expected=SINGLE,
            do=f"codeprompt convert {name} --out DIR",
        )
    return folder


def hub_snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """The files of a hub repository that match, as a local folder.

    Raises `BackboneError` where there is no such repository or it cannot be reached.
    """
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        found, do = "asks for its terms to be accepted", "Accept them on its page and log in"
    except errors.RepositoryNotFoundError:
        found, do = "is neither a folder here nor a checkpoint on the hub", "Check the name"
    except errors.RevisionNotFoundError:
        found, do = f"has no revision '{revision}'", "Check the part after '@'"
    except errors.HFValidationError as error:
        found, do = f"cannot be a hub id: {error}", "Check the name"
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError):
        found = "is neither a folder here nor in the local cache, and the hub cannot be reached"
        do = "Connect (and unset HF_HUB_OFFLINE), give a folder, or use builtin"
    raise BackboneError(
        f"{repo} {found}", expected="builtin, a folder or the id of a public checkpoint", do=do
    )


def _cached(repo: str, revision: str | None, patterns: list[str]) -> Path | None:
    """What the local cache has of a hub repository, without asking the network."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=patterns, local_files_only=True
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError):
        return None
    return Path(folder)


def _has_safetensors(folder: Path) -> bool:
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()
