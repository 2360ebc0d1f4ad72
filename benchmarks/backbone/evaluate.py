"""How good a checkpoint is on packages it never saw: loss, BLEU, and whether it reads its source.

Beside the BLEU of the greedy summaries stand the share of distinct ones and the BLEU of the best
constant sentence on the same rows: a score at or below that constant says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from benchmarks.backbone.loss import loss_of
from benchmarks.backbone.objectives import Objectives, Stage, collate
from benchmarks.backbone.shards import Shard
from benchmarks.backbone.tokenizer import END, PAD
from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding
from codeprompt.backbones.generation import generate
from codeprompt.backbones.t5 import T5
from codeprompt.inject import NOTHING
from codeprompt.metrics.codexglue_sentence_bleu import sentence_bleu

CONSTANTS = (
    "Return a list of the given .",
    "Return the value of the given name .",
    "Returns the value of the given object .",
    "Get the value of the given name .",
)
STAGE = Stage(1, source=160, budget=8_000, summarize=1, name=0, spans=0, carry_on=0)


@torch.no_grad()
def held_out(
    model: T5, tokenizer: Tokenizer, held: Shard, rows: int = 192, generated: int = 96
) -> dict[str, Any]:
    """Loss over `rows` Python and Java functions of held-out packages, BLEU over `generated`."""
    model.eval()
    objectives = Objectives(held, tokenizer, seed=7)
    rng = np.random.default_rng(7)
    known = [i for i, name in enumerate(held.languages) if name in ("python", "java")]
    wanted = objectives.documented[np.isin(held.language[objectives.documented], known)]
    chosen = rng.permutation(wanted)[:rows]
    pairs = [objectives.summary_pair(int(row), STAGE, rng) for row in chosen]
    losses = [
        float(loss_of(model, collate(pairs[at : at + 48]))) for at in range(0, len(pairs), 48)
    ]
    sources = [source for source, _ in pairs[:generated]]
    references = [tokenizer.decode(target.tolist()) for _, target in pairs[:generated]]
    texts = answers(model, tokenizer, sources)
    constant = max(
        sum(sentence_bleu(c, [r]) for r in references) / len(references) for c in CONSTANTS
    )
    bleu = sum(sentence_bleu(t, [r]) for t, r in zip(texts, references, strict=True)) / len(texts)
    model.train()
    return {
        "held loss": sum(losses) / len(losses),
        "bleu": 100 * bleu,
        "constant bleu": 100 * constant,
        "distinct": len(set(texts)) / len(texts),
        "sample": [f"{r} -> {t}" for t, r in zip(texts[:4], references[:4], strict=True)],
    }


@torch.no_grad()
def answers(model: T5, tokenizer: Tokenizer, sources: Sequence[Any], steps: int = 24) -> list[str]:
    """Greedy answers of at most `steps` tokens to sources of token ids, in their order."""
    out: list[str] = []
    for at in range(0, len(sources), 32):
        group = [(source, np.array([END])) for source in sources[at : at + 32]]
        batch = collate(group)
        source = Source(batch.source.to(model.device), batch.mask.to(model.device))
        memory = model.remember(model.encode(source), source)
        decoding = Decoding(beams=1, max_new_tokens=steps)
        answers = generate(model, memory, NOTHING, decoding, eos=END, pad=PAD, start=PAD)
        out += [tokenizer.decode(list(answer[0].ids)).strip() for answer in answers]
    return out
