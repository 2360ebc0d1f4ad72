"""How a trainer is stopped: after a step, with its state on the disk, by an argument."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import psutil
import pytest

from codeprompt.service.jobs.trainer import PID, Trainer
from codeprompt.training import checkpoint
from codeprompt.training.keeping import ALWAYS, Keeping, StopError
from codeprompt.training.loop import Event
from tests.test_training_loop import loop_of, same, tensors


def test_a_stopped_run_goes_on_from_that_very_step(tmp_path: Path) -> None:
    """Whatever writing costs, and ends with the tensors of a run that nobody stopped."""
    path, steps = tmp_path / "run.safetensors", list[int]()
    calm = loop_of(steps=8, evaluate_every=4)
    calm.run()
    stopped = loop_of(steps=8, evaluate_every=4, path=path)
    stopped.keeping = Keeping(math.inf, 0.0, lambda: stopped.progress.step == 3)
    with pytest.raises(StopError, match="after step 3"):
        stopped.run()

    def told(event: Event) -> None:
        steps.append(event.step)

    again = loop_of(steps=8, evaluate_every=4, path=path, on_event=told)
    assert again.resume()
    again.run()
    assert steps == [4, 5, 6, 7, 8]
    assert same(tensors(again.module), tensors(calm.module))


def test_a_run_that_is_at_its_end_is_not_stopped(tmp_path: Path) -> None:
    """Whoever asks it to stop after the last step gets its outcome."""
    made = loop_of(steps=2, evaluate_every=2, path=tmp_path / "run.safetensors")
    made.keeping = Keeping(should_stop=lambda: made.progress.step == 2)
    assert made.run().steps == 2


def test_how_often_state_is_kept_is_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every step, or, where writing costs too much, at the end alone."""
    for keeping, expected in ((ALWAYS, [1, 2, 3, 4]), (Keeping(0.0, -1.0), [4])):
        kept: list[int] = []
        monkeypatch.setattr(
            checkpoint, "save", lambda path, progress, *_, kept=kept: kept.append(progress.step)
        )
        made = loop_of(steps=4, evaluate_every=2, path=tmp_path / "run.safetensors")
        made.keeping = keeping
        made.run()
        assert kept == expected


@pytest.mark.skipif(os.name != "posix", reason="stopped by a signal")
def test_a_trainer_stands_still_only_once_it_would_die_with_us(tmp_path: Path) -> None:
    """One that was stopped before it had seen to that would stand there for ever."""
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        trainer = Trainer(tmp_path, cores=1, memory_mb=100, hub=False)
        trainer.process = child
        trainer.pause(True)
        assert not trainer.paused
        assert child.status() != psutil.STATUS_STOPPED
        (tmp_path / PID).touch()
        trainer.pause(True)
        assert trainer.paused
        while child.status() != psutil.STATUS_STOPPED:
            assert child.is_running()
        trainer.pause(False)
        assert not trainer.paused
    finally:
        child.kill()
        child.wait()
