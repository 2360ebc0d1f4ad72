"""When a run writes its state down, and whether it shall end before its time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from codeprompt.errors import TrainingError


class StopError(TrainingError):
    """The run was asked to stop. Where it keeps a checkpoint, it can go on from this very step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"The run was stopped after step {step}", do="Go on with --resume")


def never() -> bool:
    """Nobody wants the run to stop."""
    return False


@dataclass(frozen=True)
class Keeping:
    """A checkpoint is written after each evaluation and at least every so many seconds.

    share: but writing takes no more than that of the time, since tuned weights are large.
    should_stop: asked after each step, when its state is whole; once true, the checkpoint is
    written and `StopError` raised.
    """

    seconds: float = 20.0
    share: float = 0.05
    should_stop: Callable[[], bool] = never

    def due(self, evaluated: bool, since: float, cost: float) -> bool:
        """Whether to write now. since: seconds from the last time; cost: what that one took."""
        return (evaluated or since > self.seconds) and cost <= since * self.share


ALWAYS = Keeping(0.0, math.inf)
"""After every step."""
