"""An empty line after every line, as CodeXGLUE's copy of Devign writes its functions.

All but 7% of them; and of those 7% 99.9% are defective (all 178 of the test rows), so that a model
can tell their label by the layout alone, and then takes every function of a real project for
defective. Read in one layout the rows say nothing by it.
"""

from __future__ import annotations

import re

BREAKS = re.compile(r"\n+")


def is_spaced(text: str) -> bool:
    """Whether every line but the last has an empty one behind it; false of a single line."""
    runs = BREAKS.findall(text.strip("\n"))
    return bool(runs) and all(len(run) % 2 == 0 for run in runs)


def spaced(text: str) -> str:
    """The text in this layout; one that has it already stays as it is."""
    plain = text.replace("\r\n", "\n")
    return plain if is_spaced(plain) else plain.replace("\n", "\n\n")
