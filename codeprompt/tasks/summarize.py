"""Summarization: one sentence that says what a function does.

CodeXGLUE code-to-text (CodeSearchNet): smoothed sentence BLEU-4 on a function whose docstring was
cut out. The template is the instruction that `builtin` saw in its pre-training.
"""

from __future__ import annotations

from codeprompt.data.base import ABOUT, UNTOLD, Columns
from codeprompt.tasks.base import Task

TASK = Task(
    name="summarize",
    summary="one sentence that says what a function does",
    kind="generate",
    columns=Columns(
        # CodeXGLUE feeds the tokens, so `code_tokens` comes first and `raw_code` keeps the text.
        fields={
            "code": ("code_tokens", "code", "func", "function", "content", "func_code_string"),
            "raw_code": ("raw_code", "code", "func", "function", "content", "func_code_string"),
            **ABOUT,
        },
        target=("docstring_tokens", "summary", "docstring", "comment", "nl", "target"),
        defaults=UNTOLD,
    ),
    templates={
        "t5": "Summarize {language}: {code}",
        "roberta": "Summarize {language}: {code}",
        "llama": "{code}\nWhat this {language} function does, in one sentence:\n",
    },
    metrics=("codexglue-sentence-bleu", "chrf"),
    source_length=256,
    target_length=48,
    beams=4,
    channel={"t5": "Write {language}: {answer}"},  # `builtin`'s own: the first 48 tokens
)
