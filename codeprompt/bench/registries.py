"""What lies in the folders beside this file, by name: baselines, transformations, trackers."""

from __future__ import annotations

from codeprompt.registry import Registry

BASELINES = Registry("codeprompt.bench.baselines", "BASELINE", "baseline")
TRANSFORMS = Registry("codeprompt.bench.transforms", "TRANSFORM", "transformation")
TRACKERS = Registry("codeprompt.bench.trackers", "TRACKER", "tracker")
