"""int8 weights kept between runs: one safetensors file for each product, verified when read.

Only tensors are kept, never code. A file that is cut, changed or of another version is made again:
all of them save about a second at load, nothing depends on them. One file a product, so that no
more than one product's values wait in memory to be written or to be used.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codeprompt.backbones._identity import hash_tensors
from codeprompt.errors import CodepromptError
from codeprompt.files import atomic_path

VERSION = 3
"""Of what the stored values mean."""


class Store:
    """The kept weights of one backbone (its hash) in a folder.

    Once a file could not be written (a full disk, a folder that is not ours) no other is tried.
    """

    def __init__(self, folder: Path, backbone: str) -> None:
        key = hashlib.sha256(f"{VERSION} {backbone}".encode()).hexdigest()
        self.path = folder / f"int8-{key[:32]}"
        self._writes = True

    def file(self, product: str) -> Path:
        """Where a product's weights lie; product: the names of its maps."""
        return self.path / f"{product}.safetensors"

    def load(self, product: str) -> tuple[Tensor, Tensor] | None:
        """Its values [out,in] int8 and scales [out], or None where none can be trusted."""
        try:
            with safe_open(self.file(product), framework="pt") as file:
                told = (file.metadata() or {}).get("sha256")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
        if tensors.keys() != {"values", "scale"} or told != hash_tensors(tensors):
            return None
        # Both lie in one mapping of the file: a scale that lives on would keep the values resident.
        return tensors["values"], tensors["scale"].clone()

    def save(self, product: str, values: Tensor, scale: Tensor) -> None:
        """Keep a product's weights."""
        if not self._writes:
            return
        tensors = {"values": values, "scale": scale}
        try:
            with atomic_path(self.file(product), durable=False) as temporary:
                save_file(tensors, temporary, metadata={"sha256": hash_tensors(tensors)})
        except CodepromptError:
            self._writes = False
