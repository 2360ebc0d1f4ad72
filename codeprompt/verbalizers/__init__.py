"""Verbalizers: label words, and from their scores to calibrated label probabilities.

The words are free of torch, so that tasks can declare them; the torch functions load when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeprompt.verbalizers.words import Verbalizer, candidates

if TYPE_CHECKING:
    from codeprompt.verbalizers.calibrate import (
        CONTENT_FREE,
        calibrated,
        label_log_probs,
        log_prior,
        word_scores,
    )

__all__ = [
    "CONTENT_FREE",
    "Verbalizer",
    "calibrated",
    "candidates",
    "label_log_probs",
    "log_prior",
    "word_scores",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from codeprompt.verbalizers import calibrate

        return getattr(calibrate, name)
    raise AttributeError(name)
