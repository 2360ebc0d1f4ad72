"""Caches on pages of their own: tensors like any other, whose memory goes back with them."""

from __future__ import annotations

import psutil
import pytest
import torch

from codeprompt.backbones.serving.pages import LEAST, laid_out

MB = 2**20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("rows", [0, 3, LEAST])
def test_what_is_written_is_read(dtype: torch.dtype, rows: int) -> None:
    """Small ones from the heap, large ones from the system, and none at all."""
    with torch.inference_mode():
        made = laid_out((rows, 2), torch.empty(1), dtype)
        assert made.shape == (rows, 2) and made.dtype == dtype and made.is_contiguous()
        made.copy_(torch.arange(2))
        assert torch.equal(made, torch.arange(2).to(dtype).expand(rows, 2))


def test_pages_go_back_with_the_last_view() -> None:
    """And cost nothing before something is written to them."""
    process = psutil.Process()
    begun = process.memory_info().rss
    made = laid_out((64, MB), torch.empty(1), torch.uint8)
    assert process.memory_info().rss < begun + 16 * MB
    view = made.fill_(1)[1:]
    del made
    assert process.memory_info().rss > begun + 48 * MB and int(view[0, 0]) == 1
    del view
    assert process.memory_info().rss < begun + 16 * MB


def test_other_devices_have_their_own() -> None:
    """A tensor is where its pattern is."""
    assert laid_out((LEAST,), torch.empty(1, device="meta"), torch.float32).device.type == "meta"
