"""Pages of a mapped checkpoint are given back, and what is in the file is still there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from codeprompt.backbones._pages import Pages

NUMBERS = 1 << 20


def resident(path: Path) -> int:
    """KB of a mapped file that this process has in memory."""
    here, total = False, 0
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.partition(" ")[0]:
            here = line.endswith(str(path))
        elif here and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc, and Linux's madvise")
def test_pages_of_a_mapped_tensor_go_and_come_again(tmp_path: Path) -> None:
    """What was read is read again from the file where somebody still wants it."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(NUMBERS), "b": torch.ones(5)}, path)
    tensors = load_file(path)
    total = int(tensors["a"].sum())
    before = resident(path)
    assert before >= 8 * NUMBERS // 1024
    Pages().let_go(tensors["a"])
    assert resident(path) < before // 10
    assert int(tensors["a"].sum()) == total
    assert tensors["b"].tolist() == [1.0] * 5


def test_a_tensor_in_memory_of_its_own_stays_as_it_is() -> None:
    """Also where it is a view, or another thread's."""
    own = torch.arange(NUMBERS)
    pages = Pages()
    pages.let_go(own)
    pages.let_go(own.reshape(1024, -1).t())
    assert torch.equal(own, torch.arange(NUMBERS))
