"""Defect prediction: does this function carry a defect?

Devign (Zhou et al. 2019) as CodeXGLUE splits it. Templates and label words follow Wang et al. 2022,
table 1: a cloze for encoders, true or false written by encoder-decoders. A decoder is asked
after the code, since it reads from left to right.
"""

from __future__ import annotations

from codeprompt.data.base import ABOUT, UNTOLD, Columns
from codeprompt.tasks.base import Task

TASK = Task(
    name="defect",
    summary="whether a function carries a defect, with a probability",
    kind="classify",
    columns=Columns(
        fields={"code": ("func", "code", "function", "content"), **ABOUT},
        target=("target", "label", "defective", "vulnerable", "vul", "is_vulnerable"),
        labels={
            "0": "clean",
            "1": "defective",
            "false": "clean",
            "true": "defective",
            "clean": "clean",
            "defective": "defective",
        },
        defaults=UNTOLD,
    ),
    templates={
        "t5": "Defect {language}: {code}",
        "roberta": "The code {code} is {mask}.",
        "llama": "{code}\nIs this {language} function defective?\nAnswer:",
    },
    metrics=("accuracy", "f1", "mcc", "roc-auc", "ece"),
    source_length=512,
    target_length=4,
    label_words={
        "t5": {"clean": ("false",), "defective": ("true",)},
        "roberta": {"clean": ("clean", "good"), "defective": ("defective", "bad")},
        "llama": {"clean": ("no",), "defective": ("yes",)},
    },
    positive="defective",
)
