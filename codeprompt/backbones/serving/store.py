"""int8 weights kept between runs: one safetensors file for each backbone, verified when read.

Only tensors are kept, never code. A file that is cut, changed or of another version is made again:
it saves about a second at load, nothing depends on it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codeprompt.backbones._identity import hash_tensors
from codeprompt.errors import CodepromptError
from codeprompt.files import atomic_path

VERSION = 2
"""Of what the stored values mean."""


def path_of(folder: Path, backbone: str) -> Path:
    """Where the weights of a backbone (its hash) lie."""
    key = hashlib.sha256(f"{VERSION} {backbone}".encode()).hexdigest()
    return folder / f"int8-{key[:32]}.safetensors"


def load(folder: Path, backbone: str) -> dict[str, Tensor] | None:
    """The stored tensors, or None where there are none that can be trusted."""
    path = path_of(folder, backbone)
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return tensors if told == hash_tensors(tensors) else None


def save(folder: Path, backbone: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep the tensors; a folder that cannot be written keeps nothing."""
    with (
        contextlib.suppress(CodepromptError),
        atomic_path(path_of(folder, backbone)) as temporary,
    ):
        save_file(dict(tensors), temporary, metadata={"sha256": hash_tensors(tensors)})
