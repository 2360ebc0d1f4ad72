"""A T5 whose answers end early, late or never, in Hugging Face's module and in ours."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from codeprompt.backbones.base import Source
from codeprompt.backbones.decoding import Decoding, Hypothesis
from codeprompt.backbones.generation import generate
from codeprompt.backbones.t5 import T5, T5Config
from codeprompt.inject import NOTHING, Injected

EOS, PAD, START = 2, 0, 0
SHAPES: list[dict[str, Any]] = [
    {"num_layers": 2, "num_heads": 4, "vocab_size": 60},
    {"num_layers": 1, "num_heads": 2, "vocab_size": 41, "feed_forward_proj": "gated-gelu"},
    {"num_layers": 2, "num_decoder_layers": 1, "num_heads": 3, "vocab_size": 75},
]


def wandering_head(theirs: Any, vocabulary: int, share: float) -> Tensor:
    """A head [V,d] without a favourite token, whose end token wins now and then.

    On random text, the direction that all hidden states share is taken out of every row but the end
    token's, which gets as much of it as makes it the likeliest at that share of the positions.
    """
    ids = torch.randint(3, vocabulary, (32, 16))
    hidden = theirs.decoder(
        input_ids=ids, encoder_hidden_states=theirs.encoder(input_ids=ids).last_hidden_state
    ).last_hidden_state.flatten(0, 1)
    shared = hidden.mean(0) / hidden.mean(0).norm()
    head = 0.25 * torch.randn(vocabulary, hidden.shape[1], dtype=torch.float64)
    head -= torch.outer(head @ shared, shared)
    logits = hidden @ head.T
    gap = (logits.amax(-1) - logits[:, EOS]) / (hidden @ shared)
    head[EOS] += gap.quantile(share) * shared
    return head


@functools.cache
def pair(seed: int) -> tuple[Any, T5]:
    """Hugging Face's module in float64, with weights that end answers early, late or never."""
    from transformers import T5Config as HFConfig
    from transformers import T5ForConditionalGeneration

    settings = {
        "d_model": 24,
        "d_kv": 8,
        "d_ff": 32,
        "decoder_start_token_id": START,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
        "dropout_rate": 0.0,
        **SHAPES[seed % len(SHAPES)],
    }
    torch.manual_seed(seed)
    theirs = T5ForConditionalGeneration(HFConfig(**settings)).double().eval()
    with torch.no_grad():
        for parameter in theirs.decoder.parameters():
            parameter.mul_(1.5)
        head = wandering_head(theirs, settings["vocab_size"], 1 / 6 if seed < 4 else 0.5)
        theirs.lm_head.weight.copy_(head)
    ours = T5(T5Config.from_json(settings)).double()
    ours.lm_head.weight = nn.Parameter(torch.empty_like(theirs.lm_head.weight))
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if "embed_tokens" not in k})
    ours.freeze()
    return theirs, ours


def sources(ours: T5, rows: int = 5, width: int = 14, seed: int = 1) -> Source:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, ours.config.vocab_size, (rows, width), generator=generator)
    lengths = torch.tensor([[width, 5, 9, 1, 12][row % 5] for row in range(rows)])
    mask = torch.arange(width) < lengths[:, None]
    return Source(ids.masked_fill(~mask, PAD), mask)


def answer(
    ours: Any, source: Source, decoding: Decoding, injected: Injected = NOTHING, **more: Any
) -> list[list[Hypothesis]]:
    with torch.no_grad():
        memory = ours.remember(ours.encode(source, injected), source, injected)
    return generate(ours, memory, injected, decoding, eos=EOS, pad=PAD, start=START, **more)
