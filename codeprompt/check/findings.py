"""A finding: a function that a pack thinks is what the task looks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One function that reaches the threshold.

    file: as the user named it, or below the folder the user named. start_line, end_line: 1-based,
    inclusive. score: probability of `label`, the positive one. fails: it reaches `--fail-on`.
    lines: of the file that a labelling pack tells, with their probabilities.
    """

    file: Path
    function: str
    start_line: int
    end_line: int
    label: str
    score: float
    fingerprint: str
    fails: bool = False
    lines: tuple[tuple[int, float], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints for one finding."""
        return {
            "file": self.file.as_posix(),
            "function": self.function,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "label": self.label,
            "score": self.score,
            "fingerprint": self.fingerprint,
            "fails": self.fails,
            **({"lines": [{"line": n, "score": p} for n, p in self.lines]} if self.lines else {}),
        }

    def as_text(self) -> str:
        """What a terminal shows: `file:line:`, which editors and terminals turn into a link."""
        mark = " (fails)" if self.fails else ""
        return (
            f"{self.file}:{self.start_line}: {self.function} looks {self.label}, "
            f"probability {self.score:.2f}{self._where()}{mark}"
        )

    def _where(self) -> str:
        if not self.lines:
            return ""
        numbers = ", ".join(str(line) for line, _ in self.lines)
        return f" (line{'s' * (len(self.lines) > 1)} {numbers})"
