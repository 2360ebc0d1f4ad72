"""Threads that share a product wait awake, but not for long."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from codeprompt.waiting import ASLEEP, POLICY, SPINS, wait_briefly


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of how threads wait, and that is as before afterwards."""
    monkeypatch.setenv(SPINS, "")
    monkeypatch.delenv(SPINS)
    monkeypatch.delenv(POLICY, raising=False)
    return monkeypatch


def test_what_the_user_said_stays(unsaid: pytest.MonkeyPatch) -> None:
    """A count of the user's own is not touched, and a policy of theirs gets no count beside it."""
    unsaid.setenv(SPINS, "7")
    wait_briefly()
    assert os.environ[SPINS] == "7"
    unsaid.delenv(SPINS)
    unsaid.setenv(POLICY, "ACTIVE")
    wait_briefly()
    assert SPINS not in os.environ


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings GNU's OpenMP there")
def test_a_command_s_threads_go_by_the_bound() -> None:
    """It is set before torch is loaded: torch's own library tells what it has read."""
    plain = {k: v for k, v in os.environ.items() if k not in ASLEEP}
    found = subprocess.run(
        [sys.executable, "-m", "codeprompt", "doctor"],
        env={**plain, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "GOMP_SPINCOUNT = '30000'" in found.stderr
