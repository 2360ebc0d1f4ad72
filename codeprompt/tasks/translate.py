"""Translation: the same function in another language.

CodeXGLUE code-to-code-trans (Java and C#): corpus BLEU, CodeBLEU, exact match; the direction is the
data's: map the columns (`--columns code=java,target=cs`) or leave it to the pack.
"""

from __future__ import annotations

from codeprompt.data.base import ABOUT, UNTOLD, Columns
from codeprompt.tasks.base import Task

TASK = Task(
    name="translate",
    summary="the same function in another language",
    kind="generate",
    columns=Columns(
        # A column that is named after a language names the languages too.
        fields={
            "code": ("java", "source", "src", "code"),
            **ABOUT,
            "language": ("source_language", "language", "lang"),
            "target_language": ("target_language",),
        },
        target=("cs", "target", "tgt", "translation"),
        defaults=UNTOLD,
    ),
    templates={
        "t5": "Translate {language} to {target_language}: {code}",
        "roberta": "Translate {language} to {target_language}: {code}",
        "llama": "{language}:\n{code}\n{target_language}:\n",
    },
    metrics=("codexglue-corpus-bleu", "codebleu", "exact-match", "parse-rate"),
    source_length=320,
    target_length=256,
    beams=5,
)
