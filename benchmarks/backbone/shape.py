"""The T5 model before its first step: the shape that ships, and weights that learn from the start.

Where we differ from T5's own initialisation: logits start near uniform, residual branches at zero,
and the forms of one word with vectors that share a part.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from codeprompt.backbones.t5 import T5, T5Config

SHAPE = T5Config(
    vocab_size=16_000,
    d_model=256,
    d_kv=64,
    d_ff=1024,
    num_layers=4,
    num_decoder_layers=4,
    num_heads=4,
    dropout_rate=0.0,
)


EMBEDDING = 0.3  # deviation at the start


def new_model(shape: T5Config, seed: int, tokens: Sequence[str] = ()) -> T5:
    """Weights whose first logits are near uniform, with residual branches that start at zero.

    T5 starts its tied embedding at deviation 1, so that a token predicts itself with a logit of 16
    and the first thousand steps unlearn that; here the decoder's last norm starts small.
    tokens: the vocabulary by id; forms of one word then start alike (`alike`).
    """
    torch.manual_seed(seed)
    model = T5(shape)
    width, inner = shape.d_model, shape.num_heads * shape.d_kv
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("bias.weight", "Attention.o.weight", "DenseReluDense.wo.weight")):
                weight.zero_()
            elif name.endswith("Attention.q.weight"):
                weight.normal_(0, (width * inner / shape.num_heads) ** -0.5)
            elif name == "shared.weight":
                weight.normal_(0, EMBEDDING)
                if tokens:
                    weight.copy_(alike(weight, tokens))
            elif name == "decoder.final_layer_norm.weight":
                weight.fill_(0.5)
            elif weight.ndim == 2:
                weight.normal_(0, width**-0.5)
    return model


def alike(embedding: Tensor, tokens: Sequence[str]) -> Tensor:
    """The embedding [V,d] with a part shared by the forms of a word: `node`, ` node`, `Node`.

    Byte-level BPE makes other tokens of a word in a name and of the same word in a sentence. Where
    their vectors start unrelated, copying must be learned word by word, and is not within the time
    that two cores have; where they share a part, one map copies them all. Words with the same five
    first letters (`delete`, `deleted`) share a little more.
    """
    width = embedding.shape[1]
    parts: dict[str, Tensor] = {}

    def part(key: str) -> Tensor:
        if key not in parts:
            parts[key] = torch.randn(width) * EMBEDDING
        return parts[key]

    out = embedding.clone()
    for index, token in enumerate(tokens):
        word = token.lstrip("\u0120").lower()  # the byte-level alphabet's space
        if word.isalpha() and len(word) > 1:
            shared = 0.75 * part(word) + 0.4 * part(word[:5] + "*")
            out[index] = shared + 0.5 * embedding[index]
    return out
