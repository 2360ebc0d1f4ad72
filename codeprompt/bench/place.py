"""Where a cell finds its data, keeps what it has not finished, and tells how far it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Tell = Callable[[float, str], None]
"""Called with the share of a cell that is done (0..1) and what it is doing."""


def quiet(share: float, doing: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Place:
    """root: the folder of `--data`. partial: prefix of unfinished work's files; None keeps none.

    overlapping: evaluation to the ids of rows that training might have seen (`audit.py`).
    rate: what another cell's dev rows chose, where the cell takes its rate from there.
    """

    root: Path | None = None
    partial: Path | None = None
    allow_hub: bool = True
    overlapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rate: float | None = None
    tell: Tell = quiet

    def file(self, name: str) -> Path | None:
        """A file of unfinished work."""
        if self.partial is None:
            return None
        return self.partial.with_name(f"{self.partial.name}.{name}")


def environment() -> dict[str, Any]:
    """Versions and processor: what times and last digits depend on."""
    import numpy
    import torch

    import codeprompt

    return {
        "codeprompt": codeprompt.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Its name where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
