"""Checkpoints: where a name leads. Safetensors only, never a pickle."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from codeprompt.backbones._folder import (
    DECODERS,
    INDEX,
    SIDE_FILES,
    SINGLE,
    SUPPORTED,
    load_tensors,
    read_config,
)
from codeprompt.backbones._identity import hash_folder, hash_tensors, identity
from codeprompt.backbones._state import (
    canonical_state,
    has_mask_head,
    llama_state,
    roberta_state,
    t5_state,
)
from codeprompt.errors import BackboneError

__all__ = [
    "DECODERS",
    "SUPPORTED",
    "builtins",
    "canonical_state",
    "has_mask_head",
    "hash_folder",
    "hash_tensors",
    "identity",
    "llama_state",
    "load_tensors",
    "newest_builtin",
    "read_config",
    "resolve",
    "roberta_state",
    "t5_state",
]

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
