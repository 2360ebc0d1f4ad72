"""Localization: which lines of a function carry its defect.

Token labelling, as P-tuning v2 labels sequences (Liu et al. 2022, section 3.3): a linear head on
the state of every token, here of the code alone; a line's probability is the mean over its tokens.
The reference is the numbers of the lines that a fix removed or changed, or in front of which it
added (`benchmarks/cve`). The label words only name the two labels.
"""

from __future__ import annotations

from codeprompt.data.base import ABOUT, UNTOLD, Columns
from codeprompt.tasks.base import Task

TASK = Task(
    name="localize",
    summary="which lines of a function carry its defect, with probabilities",
    kind="label",
    columns=Columns(
        fields={"code": ("code", "func", "function", "content"), **ABOUT},
        target=("lines", "flaw_lines", "vulnerable_lines", "target"),
        defaults=UNTOLD,
    ),
    templates={
        "t5": "Defect {language}: {code}",
        "roberta": "{code}",
        # A decoder sees only what stands before a token: a line is judged without what follows it.
        "llama": "{code}",
    },
    metrics=("line-auc", "line-top1", "line-top5", "line-f1", "line-effort"),
    source_length=512,
    label_words={
        family: {"clean": ("clean",), "defective": ("defective",)}
        for family in ("t5", "roberta", "llama")
    },
    positive="defective",
)
