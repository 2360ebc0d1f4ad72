"""The engine's own thread alone computes in parallel, and only what is worth it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from codeprompt.backbones.threads import WIDTH, computing_on, shared


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with computing_on(torch.get_num_threads()):
        yield


def test_threads_are_given_back_even_where_the_work_fails() -> None:
    """Outside, a caller finds the number it had."""
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no"), computing_on(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("no")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("rows", "d_model", "wanted"), [(7, 256, 1), (8, 256, 2), (1, 768, 2)])
def test_a_small_step_is_not_shared(rows: int, d_model: int, wanted: int) -> None:
    """Few rows of a narrow model are one thread's work."""
    with computing_on(2), shared(rows, d_model):
        assert torch.get_num_threads() == wanted
    assert (rows * d_model**2 >= WIDTH) == (wanted == 2)


def test_one_thread_s_number_is_not_another_s() -> None:
    """What a thread chose stays its own, whatever others choose later: OpenMP's own rule."""
    with computing_on(2):
        other = threading.Thread(target=torch.set_num_threads, args=(1,))
        other.start()
        other.join()
        assert torch.get_num_threads() == 2
