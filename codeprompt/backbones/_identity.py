"""What a backbone is, as one hash: its tensors as stored, its passes' switches, its tokenizer.

Hashed are the canonical tensors, so that the same weights give the same hash whether tied tensors
are written once or twice, in one file or in shards; and never what they are cast to when loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeprompt.backbones._folder import DECODERS, SWITCHES, load_tensors, read_config
from codeprompt.backbones._pages import Pages
from codeprompt.backbones._rope import rope_settings
from codeprompt.backbones._state import canonical_state
from codeprompt.backbones.tokenizer import Tokenizer
from codeprompt.errors import CodepromptError
from codeprompt.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1


def hash_tensors(tensors: Mapping[str, Tensor], *, free: bool = False) -> str:
    """sha256 over names in order, dtypes, shapes and bytes.

    free: of tensors as they lie in a mapped file, give back the pages that were read.
    """
    pages = Pages() if free else None
    names = sorted(tensors)
    total = hashlib.sha256()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for name, digest in zip(names, pool.map(lambda n: _digest(tensors[n]), names), strict=True):
            tensor = tensors[name]
            head = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            total.update(json.dumps(head).encode() + b"\n" + digest)
            if pages is not None:
                pages.let_go(tensor)
    return total.hexdigest()


def hash_folder(folder: Path) -> str:
    """A checkpoint folder's identity, remembered by path, sizes and times of its files.

    The memory (in the user's cache folder) saves about a second per gigabyte. A file changed
    behind its size and time is not noticed: the hash names a backbone, it does not guard it.

    Raises `BackboneError` where the folder cannot be read or holds another architecture.
    """
    note = _note(folder)
    try:
        known = note.read_text(encoding="ascii").strip()
        if len(known) == 64:
            return known
    except (OSError, ValueError):
        pass
    config = read_config(folder)
    state = canonical_state(load_tensors(folder), config)
    found = identity(config, hash_tensors(state, free=True), Tokenizer.load(folder).hash)
    # A cache folder that cannot be written costs a second at the next start, nothing more.
    with contextlib.suppress(CodepromptError):
        write_text(note, found + "\n")
    return found


def identity(config: Mapping[str, Any], tensors: str, tokenizer: str) -> str:
    """One hash from the hashes of the parts."""
    kind = config["model_type"]
    switches = {
        key: default if config.get(key) is None else config[key]
        for key, default in SWITCHES[kind].items()
    }
    if kind == "t5" and switches["num_decoder_layers"] is None:
        switches["num_decoder_layers"] = switches["num_layers"]
    if kind in DECODERS:  # two spellings of one thing
        switches["rope"] = rope_settings(config)
    parts = [VERSION, kind, switches, tensors, tokenizer]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest(tensor: Tensor) -> bytes:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).digest()


def _note(folder: Path) -> Path:
    """Where the hash of this state of the folder is remembered."""
    import platformdirs

    folder = folder.resolve()
    files = sorted(
        (path.name, stat.st_size, stat.st_mtime_ns)
        for path in folder.iterdir()
        if path.suffix in (".json", ".txt", ".safetensors") and (stat := path.stat())
    )
    key = hashlib.sha256(json.dumps([VERSION, str(folder), files]).encode()).hexdigest()
    return Path(platformdirs.user_cache_dir("codeprompt")) / "hashes" / key
