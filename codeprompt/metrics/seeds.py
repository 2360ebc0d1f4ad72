"""What several seeds say of a mean: the t interval."""

from __future__ import annotations

from collections.abc import Sequence


def seed_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% t interval of the mean over seeds; None for a single run."""
    if len(values) < 2:
        return None
    import numpy as np
    from scipy.stats import t

    mean = float(np.mean(values))
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean - half, mean + half
