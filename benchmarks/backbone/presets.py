"""What a run is told: its minutes, its stages, its rates. Two presets of one recipe.

A run from given weights skips the short sources of the beginning and decays from a lower peak
almost from its start: with a fixed budget a linear decay to nothing is hard to beat (Bergsma et al.
2025, "Straight to Zero"), and whatever time it is stopped at, it has already decayed in part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.backbone.objectives import Stage


@dataclass(frozen=True)
class Preset:
    """A recipe's numbers. Stages count shares of the run's time; rates are for a factor of 1."""

    minutes: float
    stages: tuple[Stage, ...]
    hidden_rate: float = 0.02
    other_rate: float = 3e-3
    peak: float = 1.0
    warm_up: float = 0.01
    decay: float = 0.35
    threads: int = 2
    seed: int = 1
    family: str = "t5"
    device: str = "cpu"
    checkpoint_every: float = 3.0  # minutes
    evaluate_every: float = 6.0


PRESETS = {
    "cpu": Preset(
        minutes=150,
        stages=(
            Stage(0.08, 24, 4_000, summarize=0.7, name=0.3),
            Stage(0.20, 48, 6_000, summarize=0.8, name=0.2),
            Stage(0.45, 72, 6_000, 0.74, 0.06, spans=0.06, carry_on=0.04, write=0.06, words=0.04),
            Stage(0.75, 112, 8_000, 0.74, 0.05, spans=0.07, carry_on=0.05, write=0.05, words=0.04),
            Stage(1.01, 192, 9_000, 0.74, 0.05, spans=0.07, carry_on=0.05, write=0.05, words=0.04),
        ),
    ),
    # One data-centre GPU: the same rates, a batch of 131,000 tokens, masking on the device.
    "gpu": Preset(
        minutes=25,
        stages=(
            Stage(0.05, 64, 32_000, 0.75, 0.15, spans=0.05, carry_on=0.05),
            Stage(0.45, 128, 65_000, 0.62, 0.05, spans=0.18, carry_on=0.08, write=0.07),
            Stage(1.01, 256, 131_000, 0.62, 0.05, spans=0.18, carry_on=0.08, write=0.07),
        ),
        decay=0.5,
        threads=8,
        device="cuda",
        evaluate_every=5.0,
    ),
}
ENCODER = {
    "cpu": Preset(
        minutes=30,
        stages=(Stage(0.6, 96, 6_000, 0, 0), Stage(1.01, 192, 8_000, 0, 0)),
        decay=0.9,
        family="encoder",
    ),
    "gpu": Preset(
        minutes=8,
        stages=(Stage(0.6, 128, 65_000, 0, 0), Stage(1.01, 256, 131_000, 0, 0)),
        decay=0.9,
        threads=8,
        family="encoder",
        device="cuda",
    ),
}
TRANSLATION = {
    "cpu": Preset(
        minutes=40,
        stages=(Stage(0.1, 96, 4_000, 0, 0), Stage(1.01, 320, 5_000, 0, 0)),
        peak=0.7,
        warm_up=0.02,
        decay=0.95,
        family="translation",
        evaluate_every=5.0,
    ),
}
FAMILIES = {"t5": PRESETS, "encoder": ENCODER, "translation": TRANSLATION}


def continued(preset: Preset) -> Preset:
    """The preset for a run that starts from weights that have learned already."""
    if preset.family != "t5":  # an encoder takes over word vectors alone
        return preset
    first, second, third = preset.stages[-3:]
    stages = (replace(first, until=0.40), replace(second, until=0.75), third)
    return replace(preset, stages=stages, peak=0.7, warm_up=0.02, decay=0.9)


def factor(preset: Preset, progress: float) -> float:
    """The learning rate's factor at a share of the time."""
    if progress < preset.warm_up:
        return preset.peak * (0.05 + 0.95 * progress / preset.warm_up)
    if progress > 1 - preset.decay:
        left = max(0.0, (1 - progress) / preset.decay)
        return max(preset.peak * left, 0.01)
    return preset.peak
